"""Find the columns of a table of papers, by name or by an option; the protocol of its readers."""

from __future__ import annotations

import datetime
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from harness.errors import InputError
from skills.nanda.paper import ID_FIELDS, IdField
from skills.nanda.text import flatten

Kind = Literal["text", "id", "loose", "object"]
"""What a typed column may hold: text; text or whole numbers; anything that can be converted to
text; an object or its JSON (a column of another kind is read as missing values)."""
AbstractBy = Literal["column", "provenance", "id"]
"""What a table must have: the abstracts, or else a column by which they can be looked up."""

EXTRAS = ("authors", "published", "categories")
PROVENANCE = "provenance"
SHOWN_NAMES = 20
SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Columns:
    """The column names given by options; None: found by name."""

    abstract: str | None = None
    id: str | None = None
    title: str | None = None

    def present_in(self, names: Iterable[str]) -> Columns:
        """Return the options that name one of these columns."""
        present = {fold(name) for name in names}
        given = (self.abstract, self.id, self.title)
        return Columns(*(name if name and fold(name) in present else None for name in given))


class Column(NamedTuple):
    """A column to read.

    Attributes:
        role: the field of a paper, the move, or `PROVENANCE` that it holds.
        name: its name in the table.
        kind: what it may hold.
    """

    role: str
    name: str
    kind: Kind


class Record(NamedTuple):
    """A row.

    Attributes:
        position: the line or row, from 1, where it begins.
        values: the text of each column that is read; of kind "object", its value.
    """

    position: int
    values: tuple[Any, ...]


class Reader(Protocol):
    """Reader of one format.

    Attributes:
        unit: what the position of a record counts, "line" or "row".
    """

    unit: str

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        Raises:
            InputError: the file is not of this format.
        """

    def records(self, columns: tuple[Column, ...]) -> Iterator[Record]:
        """Yield all rows from the beginning of the file, without keeping them in memory.

        Raises:
            InputError: a line or row cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that are read.

    Attributes:
        id_column: the table's name of its id column, None if it has none.
        id_fields: the roles of the id columns, in order of preference: the names under which ids
            are stored.
        moves: the requested moves that have a column.
    """

    columns: tuple[Column, ...]
    id_column: str | None
    id_fields: tuple[IdField, ...]
    moves: tuple[str, ...]

    def has(self, role: str) -> bool:
        return any(column.role == role for column in self.columns)


def find_columns(
    names: Sequence[str],
    columns: Columns,
    moves: Sequence[str],
    where: str,
    abstract_by: AbstractBy = "column",
) -> Layout:
    """Find the columns to read in a header.

    Args:
        names: the table's columns, as it writes them.
        moves: names of moves, whose columns are read where present, with the provenance.

    Raises:
        InputError: a column is missing or ambiguous.
    """
    header = _Header(tuple(names), where)
    provenance = header.find(PROVENANCE) if moves else None
    ids = _id_columns(header, columns.id, several=provenance is not None)
    abstract = header.find(columns.abstract or "abstract", "--abstract-column")
    looked_up = {"column": False, "provenance": bool(provenance), "id": bool(ids)}[abstract_by]
    if abstract is None and (columns.abstract or not looked_up):
        raise header.missing(columns.abstract or "abstract", "--abstract-column")
    title = header.required(columns.title, "--title-column") if columns.title else None
    found: dict[str, str | None] = {
        "abstract": abstract,
        **dict(ids.items()),
        "title": title or header.find("title", "--title-column"),
        **{role: header.find(role) for role in (*EXTRAS, *moves)},
        PROVENANCE: provenance,
    }
    read = tuple(Column(role, name, _kind(role)) for role, name in found.items() if name)
    return Layout(
        read,
        id_column=next(iter(ids.values()), None),
        id_fields=tuple(ids),
        moves=tuple(move for move in moves if found[move]),
    )


def as_text(value: object, kind: Kind) -> str | None:
    """Convert a value of a table to text, null to ""; None if a column of this kind cannot hold it.

    A list in a loose column becomes "one, other", with the "name" of each object in it.
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
        names = (item.get("name") if isinstance(item, Mapping) else item for item in value)
        return ", ".join(name.strip() for name in names if isinstance(name, str) and name.strip())
    if isinstance(value, datetime.date):  # a datetime is a date, too
        return value.isoformat()
    return "" if isinstance(value, (bool, bytes, Mapping)) or value != value else str(value)


def not_text(value: object, column: Column, where: str) -> InputError:
    """Return the error for a value that `as_text` cannot convert."""
    names = {list: "a list", dict: "an object", bool: "true or false", float: "a decimal number"}
    return InputError(
        f"{column.name!r} is {names.get(type(value), type(value).__name__)}, not text",
        where=where,
        hint="Save ids as text: as a number, 2405.10 is 2405.1."
        if column.kind == "id"
        else "Save it as text.",
    )


def fold(name: str) -> str:
    """Return a column name in the form in which names are compared."""
    return name.strip().casefold()


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    where: str

    def find(self, name: str, option: str = "") -> str | None:
        """Return the column of this name, else the only one that differs in case alone."""
        if self.names.count(name) == 1:
            return name
        alike = [column for column in self.names if fold(column) == fold(name)]
        if len(alike) > 1:
            raise InputError(
                f"both {_short(alike[0])!r} and {_short(alike[1])!r} match the column {name}",
                where=self.where,
                hint=f"`{option} NAME` selects one." if option else "Rename one of them.",
            )
        return alike[0] if alike else None

    def required(self, name: str, option: str) -> str:
        found = self.find(name, option)
        if found is None:
            raise self.missing(name, option)
        return found

    def missing(self, name: str, option: str) -> InputError:
        listed = ", ".join(_short(name) for name in self.names[:SHOWN_NAMES])
        more = len(self.names) - SHOWN_NAMES
        listed += f" and {more} more" if more > 0 else ""
        return InputError(
            f"has no column {_short(name)!r}",
            where=self.where,
            hint=f"Its columns are {listed}; `{option} NAME` selects one.",
        )


def _id_columns(header: _Header, given: str | None, *, several: bool) -> dict[IdField, str]:
    """Return the id columns by the name under which their ids are stored.

    Args:
        several: read all id columns: a saved .jsonl file has the ids of each source under their
            own name.
    """
    if given is not None:
        column = header.required(given, "--id-column")
        return {next((name for name in ID_FIELDS if name == fold(column)), "id"): column}
    found = ((name, header.find(name, "--id-column")) for name in ID_FIELDS)
    present: dict[IdField, str] = {name: column for name, column in found if column}
    return present if several else dict(itertools.islice(present.items(), 1))


def _kind(role: str) -> Kind:
    if role in ID_FIELDS:
        return "id"
    if role == PROVENANCE:
        return "object"
    return "loose" if role in EXTRAS else "text"


def _short(name: str) -> str:
    """Shorten a name: a file without a header has its first paper in place of names."""
    return textwrap.shorten(flatten(name), SHOWN_CHARS, placeholder="...")
