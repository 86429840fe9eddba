"""Narrow a ranking of moves by their facets and by phrases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from skills.corpus.db.facets import word
from skills.corpus.db.rows import one
from skills.corpus.search.fulltext import in_text
from skills.corpus.search.query_syntax import Query, quoted
from skills.nanda.framework import Framework

NO_YEAR = "none"
"""No paper is of this year."""

Scored = tuple[int, float]
"""The id of a move, and a score."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What moves must meet beside a query.

    Attributes:
        facets: words of facets (`db/facets.py`); of each group, a move must have one.
        phrases: words and phrases that the text of a move must contain.
    """

    facets: tuple[frozenset[str], ...] = ()
    phrases: tuple[str, ...] = ()

    @classmethod
    def of(cls, db: sqlite3.Connection, query: Query, phrases: Sequence[str] = ()) -> Narrowing:
        """Return the narrowing by the moves, categories and years of a query, and by phrases."""
        groups = [[word("move", name) for name in query.moves]]
        groups.append([word("category", category) for category in query.categories])
        if query.years is not None:
            among = [word("year", year) for year in query.years.among(db)]
            groups.append(among or [word("year", NO_YEAR)])
        return cls(tuple(map(frozenset, filter(None, groups))), tuple(phrases))

    @property
    def match(self) -> str:
        """The FTS5 expression for it, "" if it is empty."""
        either = (" OR ".join(map(quoted, sorted(group))) for group in self.facets)
        found = [f"facets : ({words})" for words in either]
        return " AND ".join([*found, in_text(self.phrases)] if self.phrases else found)

    def first(
        self,
        db: sqlite3.Connection,
        framework: Framework,
        scored: Iterable[Scored],
        limit: int,
    ) -> Iterator[Scored]:
        """Yield the first `limit` moves that meet it and are of current annotations."""
        facets_of = "SELECT facets FROM moves WHERE id = ? AND framework = ? AND current = 1"
        matches = "SELECT 1 FROM moves_fts WHERE rowid = ? AND moves_fts MATCH ?"
        phrases = in_text(self.phrases)
        for move_id, score in scored:
            row = one(db, facets_of, [move_id, framework.name])
            if row is None or any(map(frozenset(row["facets"].split()).isdisjoint, self.facets)):
                continue
            if self.phrases and one(db, matches, [move_id, phrases]) is None:
                continue
            yield move_id, score
            limit -= 1
            if not limit:
                return
