"""The plan of a job: the content key of each row, and how the work under each key ended.

It is kept in a temporary file, since a table may have millions of rows.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple

from skills.corpus.db.store import State
from skills.corpus.db.temporary import open_temporary

READ = 1000
"""Entries that are read at once."""


class Entry(NamedTuple):
    """A row of a plan.

    Attributes:
        place: its index in the plan.
        key: the content key of its request.
        digest: that of its paper.
        state: how the work under this key ended, by now.
        is_first: whether it is the first row with this key, the one that is annotated.
        is_linked: whether its paper has the annotation of another row, or of an earlier run.
    """

    place: int
    key: str
    digest: bytes
    state: State | None
    is_first: bool
    is_linked: bool


class Total(NamedTuple):
    """A number of rows of a plan, and of the keys that they have, with the weight of both."""

    rows: int
    weight: int
    keys: int
    weight_of_keys: int


class Plan:
    """The rows of a job in the order of its source."""

    def __init__(self) -> None:
        self._db = open_temporary(
            "CREATE TABLE work (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, state TEXT,"
            " first INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0)",
            "CREATE TABLE entries (place INTEGER PRIMARY KEY, work INTEGER NOT NULL,"
            " digest BLOB NOT NULL, weight INTEGER NOT NULL)",
            "CREATE VIEW plan AS SELECT place, key, digest, state, weight,"
            " place = first AS is_first,"
            " state IS 'done' AND NOT (made AND place = first) AS is_linked"
            " FROM entries JOIN work ON work.id = work",
        )
        weakref.finalize(self, self._db.close)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(
        self, key: str, digest: bytes, weight: int, find_state: Callable[[str], State | None]
    ) -> None:
        """Add the next row.

        Args:
            find_state: returns how the work under a key ended; called once for each key.
        """
        self._add_work(key, self._rows, find_state)
        self._db.execute(
            "INSERT INTO entries SELECT ?, id, ?, ? FROM work WHERE key = ?",
            [self._rows, digest, weight, key],
        )
        self._rows += 1

    def replace(self, place: int, key: str, state: State) -> None:
        """Replace the key of a row: another model annotated its paper."""
        self._add_work(key, place, lambda _: state)
        self._db.execute(
            "UPDATE entries SET work = (SELECT id FROM work WHERE key = ?) WHERE place = ?",
            [key, place],
        )

    def set_state(self, key: str, state: State) -> None:
        """Record how the work under a key ended in this run."""
        self._db.execute(
            "UPDATE work SET state = ?, made = ? WHERE key = ?", [state, state == "done", key]
        )

    def entries(self, state: State | None = None) -> Iterator[Entry]:
        """Yield all rows in order, or those whose work ended in this way."""
        for begin in itertools.count(0, READ):
            if begin >= self._rows:
                return
            # Read at once, since states may change before the next row is needed.
            yield from map(
                Entry._make,
                self._db.execute(
                    "SELECT place, key, digest, state, is_first, is_linked FROM plan"
                    " WHERE place >= ? AND place < ? AND (? IS NULL OR state = ?) ORDER BY place",
                    [begin, begin + READ, state, state],
                ).fetchall(),
            )

    def totals(self) -> dict[State | None, Total]:
        """Return the numbers of rows by how their work ended."""
        query = (
            "SELECT state, count(*), sum(weight), sum(is_first), sum(weight * is_first)"
            " FROM plan GROUP BY state"
        )
        return {state: Total(*found) for state, *found in self._db.execute(query)}

    @property
    def has_links(self) -> bool:
        """True if the paper of a row has the annotation of another row, or of an earlier run."""
        query = "SELECT 1 FROM plan WHERE is_linked LIMIT 1"
        return self._db.execute(query).fetchone() is not None

    def count(self, state: State) -> int:
        """Return the number of rows whose work ended in this way."""
        query = "SELECT count(*) FROM plan WHERE state = ?"
        return int(self._db.execute(query, [state]).fetchone()[0])

    def _add_work(self, key: str, first: int, find_state: Callable[[str], State | None]) -> None:
        add = "INSERT OR IGNORE INTO work (key, first) VALUES (?, ?)"
        if self._db.execute(add, [key, first]).rowcount and (state := find_state(key)):
            self._db.execute("UPDATE work SET state = ? WHERE key = ?", [state, key])
