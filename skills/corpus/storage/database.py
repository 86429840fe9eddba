"""The corpus in an SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from skills.corpus import stats
from skills.corpus.db import reads
from skills.corpus.db.verify import verify_all
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import filters, fulltext, quotes
from skills.corpus.search.fulltext import Found, Tables
from skills.corpus.search.query_syntax import Query
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from skills.corpus.meaning.similar import Similar


@dataclass(frozen=True, slots=True)
class Database:
    """`Storage` over an open database (`connection.open_corpus`)."""

    db: sqlite3.Connection
    framework: Framework
    has_vectors: ClassVar[bool] = True

    def search(self, query: Query) -> Found:
        tables = Tables(self.db, self.framework)
        if query.by == "words":
            return fulltext.search(tables, query)
        from skills.corpus.meaning import hybrid

        return hybrid.search(tables, query)

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        from skills.corpus.meaning.embedding import Embedder
        from skills.corpus.meaning.vectors import complete

        complete(self.db, Embedder.load(), tick, check)

    def similar(self, wanted: str, move: str | None, limit: int) -> list[Similar]:
        from skills.corpus.meaning import similar

        return similar.papers(self.db, self.framework, wanted, move, limit)

    def quotes(self, wording: str, limit: int) -> list[quotes.Quote]:
        return quotes.find(self.db, wording, self.framework, limit)

    def select(self, conditions: Sequence[filters.Condition]) -> filters.Selected:
        return filters.select(self.db, conditions, self.framework)

    def statistics(self) -> stats.Stats:
        return stats.of_corpus(self.db, self.framework)

    def find(self, wanted: str) -> list[reads.StoredPaper]:
        return reads.find(self.db, wanted)

    def current_ids(self) -> list[int]:
        return reads.current_ids(self.db, self.framework)

    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        return reads.annotated(self.db, self.framework, ids)

    def failures(self) -> Iterator[Failure]:
        return reads.failures(self.db)

    def id_column(self, ids: Sequence[int]) -> str:
        return reads.id_column(self.db, ids)

    def verify(self) -> tuple[int, list[dict[str, Any]]]:
        return verify_all(self.db)
