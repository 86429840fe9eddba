"""Count the values of each facet among the listed papers.

Each facet is counted over the papers that all others select, so that its other values stay to
choose from. One query groups the papers; the groups are kept until the database changes.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from skills.corpus.browsing.selection import (
    MOVE,
    STATE,
    STATED,
    UNKNOWN,
    UNSTATED,
    Selection,
    matching,
)
from skills.corpus.db.facets import categories
from skills.nanda.framework import Framework

COLUMNS = {"state": STATE, "year": "year", "category": "categories", "model": "model"}
"""The column of each facet; the facets of moves share `stated`."""
KEPT = 16
"""Groupings that are kept."""

Group = tuple[Any, ...]
"""A value of each of `COLUMNS`, the stated moves, and the number of papers."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many papers are listed, and have each value of each facet.

    Attributes:
        facets: by facet: `COLUMNS`, then "move.NAME".
    """

    total: int
    facets: Mapping[str, Counter[str]]


class FacetCounts:
    """Counts of facets in the database at `path`, for several threads."""

    def __init__(self, path: Path, framework: Framework) -> None:
        self._path, self._framework = path, framework
        self._kept: OrderedDict[Any, list[Group]] = OrderedDict()
        self._lock = Lock()

    def of(self, db: sqlite3.Connection, selection: Selection) -> Counts:
        """Count the papers of a prepared selection."""
        wanted = {name: frozenset(values) for name, values in selection.facets.items() if values}
        moves = [MOVE + name for name in self._framework.names]
        place = {name: number for number, name in enumerate(COLUMNS)}
        place.update(dict.fromkeys(moves, len(COLUMNS)))
        everywhere: list[Counter[Any]] = [Counter() for _ in range(len(COLUMNS) + 1)]
        besides: dict[str, Counter[Any]] = {name: Counter() for name in wanted}
        for *values, number in self._groups(db, selection):
            missed = [
                name
                for name, among in wanted.items()
                if among.isdisjoint(_values(name, values[place[name]]))
            ]
            if not missed:
                for counter, value in zip(everywhere, values, strict=True):
                    counter[value] += number
            elif len(missed) == 1:  # papers that this facet alone leaves out
                besides[missed[0]][values[place[missed[0]]]] += number
        counts = {
            name: _expanded(name, everywhere[place[name]] + besides.get(name, Counter()))
            for name in place
        }
        return Counts(everywhere[0].total(), counts)

    def _groups(self, db: sqlite3.Connection, selection: Selection) -> list[Group]:
        clause = matching(selection, self._framework)
        key = selection.words, selection.by, clause, _stamp(self._path)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        columns = ", ".join(COLUMNS.values())
        rows = db.execute(
            f"SELECT {columns}, stated, count(*) {clause.sql} GROUP BY 1, 2, 3, 4, 5",
            clause.parameters,
        )
        groups = [tuple(row) for row in rows]
        with self._lock:
            self._kept[key] = groups
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return groups


def _stamp(path: Path) -> tuple[Any, ...]:
    """Return what changes with every transaction: the state of the file and of its WAL.

    A connection that only reads makes an empty WAL, and removes it at the end.
    """
    found = list[tuple[int, int] | None]()
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            stat = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size) if stat.st_size else None)
    return tuple(found)


@lru_cache(maxsize=65_536)
def _values(name: str, column: Any) -> tuple[str, ...]:
    """Return the values of a facet that a paper with this column has."""
    if name == "year":
        return (UNKNOWN if column is None else str(column),)
    if name == "category":
        return tuple(dict.fromkeys(categories(column))) or (UNKNOWN,)
    if column is None:  # without an annotation
        return ()
    if name.startswith(MOVE):
        is_stated = name.removeprefix(MOVE) in column.split()
        return (STATED if is_stated else UNSTATED,)
    return (column,)


def _expanded(name: str, columns: Counter[Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for column, number in columns.items():
        for value in _values(name, column):
            counts[value] += number
    return counts
