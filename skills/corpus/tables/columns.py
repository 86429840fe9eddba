"""Which column of a table is what: found by name, or named by an option."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from harness.errors import InputError
from skills.nanda.paper import IdField
from skills.nanda.text import flatten

Kind = Literal["text", "id", "loose"]
"""What a typed column may hold: text, text or whole numbers, whatever can be made text."""

ID_NAMES: tuple[IdField, ...] = ("arxiv_id", "paper_id", "id")
EXTRAS = ("authors", "published", "categories")
SHOWN_NAMES = 20
SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of columns given by option; None: found by name."""

    abstract: str | None = None
    id: str | None = None
    title: str | None = None


class Wanted(NamedTuple):
    """One column to be read: the paper's field or move, the table's name of it, what it holds."""

    role: str
    column: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that are read.

    Attributes:
        id_column: the table's own name of the ids' column, None where it has none.
        id_field: what such an id is called in the stored form.
        moves: the moves that have a column.
    """

    wanted: tuple[Wanted, ...]
    id_column: str | None
    id_field: IdField
    moves: tuple[str, ...]


def find_columns(
    names: Sequence[str], columns: Columns, moves: Sequence[str], where: str
) -> Layout:
    """Find in a header what is read.

    Args:
        names: the table's columns, as it writes them.
        moves: names of moves, whose columns are read where they are present.

    Raises:
        InputError: two columns have one name, a column is missing, or one is asked for twice.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"two columns are named {_short(twice[0])!r}", where=where, hint="Rename one of them."
        )
    header = _Header(tuple(names), where)
    found = {
        "abstract": header.required(columns.abstract or "abstract", "--abstract-column"),
        "id": header.first(columns.id, ID_NAMES, "--id-column"),
        "title": header.first(columns.title, ("title",), "--title-column"),
        **{role: header.find(role) for role in (*EXTRAS, *moves)},
    }
    wanted = tuple(
        Wanted(role, column, _kind(role)) for role, column in found.items() if column is not None
    )
    _refuse_double_use(wanted, where)
    id_column = found["id"]
    return Layout(
        wanted=wanted,
        id_column=id_column,
        id_field=next((name for name in ID_NAMES if name == _fold(id_column or "")), "id"),
        moves=tuple(move for move in moves if found[move] is not None),
    )


def as_text(value: object, kind: Kind) -> str | None:
    """A value of a table as text, null as ""; None where a column of this kind cannot hold it.

    A list in a loose column becomes "one, other"; of an object in it, its "name" is taken.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind != "loose":
        return None
    if isinstance(value, list):
        items = (_item(item) for item in value)
        return ", ".join(item for item in items if item)
    if isinstance(value, datetime.date):  # a datetime is one, too
        return value.isoformat()
    return "" if isinstance(value, (bool, bytes, Mapping)) or value != value else str(value)


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name")
    return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    where: str

    def find(self, name: str, option: str = "") -> str | None:
        """The column of this name: written the same, or else the one that differs in case alone."""
        if name in self.names:
            return name
        alike = [column for column in self.names if _fold(column) == _fold(name)]
        if len(alike) > 1:
            raise InputError(
                f"both {_short(alike[0])!r} and {_short(alike[1])!r} may be the column {name}",
                where=self.where,
                hint=f"`{option} NAME` names the one to read." if option else "Rename one of them.",
            )
        return alike[0] if alike else None

    def required(self, name: str, option: str) -> str:
        found = self.find(name, option)
        if found is None:
            raise InputError(
                f"has no column {_short(name)!r}",
                where=self.where,
                hint=f"Its columns are {self._listed()}; `{option} NAME` names the one to read.",
            )
        return found

    def first(self, given: str | None, known: Sequence[str], option: str) -> str | None:
        if given is not None:
            return self.required(given, option)
        return next(filter(None, (self.find(name, option) for name in known)), None)

    def _listed(self) -> str:
        shown = ", ".join(_short(name) for name in self.names[:SHOWN_NAMES])
        more = len(self.names) - SHOWN_NAMES
        return f"{shown} and {more} more" if more > 0 else shown


def _refuse_double_use(wanted: Sequence[Wanted], where: str) -> None:
    roles: dict[str, str] = {}
    for role, column, _ in wanted:
        if column in roles:
            raise InputError(
                f"the column {_short(column)!r} cannot be both {roles[column]} and {role}",
                where=where,
                hint="Name another column.",
            )
        roles[column] = role


def _kind(role: str) -> Kind:
    if role == "id":
        return "id"
    return "loose" if role in EXTRAS else "text"


def _fold(name: str) -> str:
    return name.strip().casefold()


def _short(name: str) -> str:
    """A file without a header has its first paper in place of names."""
    flat = flatten(name)
    return flat if len(flat) <= SHOWN_CHARS else f"{flat[: SHOWN_CHARS - 3]}..."
