"""Define what the commands of /corpus read from a corpus, wherever it is stored."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from skills.corpus import stats
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.reads import StoredPaper
from skills.corpus.db.store import verify_all
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import filters, fulltext, quotes
from skills.corpus.search.filters import Condition, Selected
from skills.corpus.search.fulltext import Found, Tables
from skills.corpus.search.query_syntax import Query
from skills.corpus.search.quotes import Quote
from skills.corpus.stats import Stats
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from skills.corpus.search.by_meaning import Similar


class Storage(Protocol):
    """An open corpus, read by the framework with which it was opened.

    Annotations have ids of their own in each storage; those of two methods are the same.

    Attributes:
        has_vectors: it can search by meaning.
    """

    has_vectors: ClassVar[bool]

    def search(self, query: Query) -> Found:
        """Find moves by words (`fulltext.search`), or also by meaning (`hybrid.search`).

        Meaning requires `complete_vectors` before.
        """

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        """Add the vectors that are missing (`vectors.complete`).

        Raises:
            UsageError: the model is not installed.
        """

    def similar(self, wanted: str, move: str | None, limit: int) -> list[Similar]:
        """Return the papers that are nearest to one (`similar.papers`)."""

    def quotes(self, wording: str, limit: int) -> list[Quote]:
        """Return the passages with `wording`, by paper (`quotes.find`)."""

    def select(self, conditions: Sequence[Condition]) -> Selected:
        """Select the current annotations that meet all conditions."""

    def statistics(self) -> Stats:
        """Return the statistics of the whole corpus."""

    def find(self, wanted: str) -> list[StoredPaper]:
        """Return the papers with this source id, else the one with this number."""

    def current_ids(self) -> list[int]:
        """Return the ids of all current annotations, in the order of their papers."""

    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        """Yield the annotations of these ids, in their order, with few of them in memory."""

    def failures(self) -> Iterator[Failure]:
        """Yield the newest failure of each paper that has no current annotation."""

    def id_column(self, ids: Sequence[int]) -> str:
        """Return the name of the ids of these annotations' papers, "id" if there are several."""

    def verify(self) -> tuple[int, list[dict[str, Any]]]:
        """Return how many annotations there are, and those that do not match their keys."""


@contextlib.contextmanager
def opened(
    path: Path, framework: Framework, notice: Callable[[str], None] = lambda text: None
) -> Iterator[Storage]:
    """Open an existing corpus for reading: a database, or a folder of parts with their index.

    Args:
        notice: called with what is left out.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    if not path.is_dir():
        with open_corpus(path, must_exist=True) as db:
            yield Database(db, framework)
        return
    from skills.corpus.parquet_store import parts

    with parts.opened(path, framework) as found:
        for text in found.left_out():
            notice(text)
        yield found


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
        from skills.corpus.search import by_meaning

        return by_meaning.search(tables, query)

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        from skills.corpus.search.vectors import Embedder, complete

        complete(self.db, Embedder.load(), tick, check)

    def similar(self, wanted: str, move: str | None, limit: int) -> list[Similar]:
        from skills.corpus.search import by_meaning

        return by_meaning.papers(self.db, self.framework, wanted, move, limit)

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
