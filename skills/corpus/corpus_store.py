"""Open a corpus for reading: an SQLite database, or a folder of parts (`parquet_store`)."""

from __future__ import annotations

import contextlib
import heapq
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

from harness.api.skill import Call
from harness.errors import NothingFound
from skills.corpus.db import merging, papers, reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.facets import categories
from skills.corpus.db.rows import stored_record
from skills.corpus.outputs import Hit
from skills.corpus.records import Annotated, Failure
from skills.corpus.search.engine import Engine
from skills.corpus.search.filters import Condition
from skills.corpus.search.fulltext import MARK, SNIPPET_WORDS, Scored, beginning_of
from skills.corpus.search.quotes import ABSTRACT, QuotableText
from skills.corpus.views import left_out
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

# CROSS JOIN makes SQLite read the index of papers first, and then find the annotations by an index.
# A scan of the annotations would be slow, since their rows are long.
_ANNOTATIONS = """(
    SELECT annotations.id, papers.id AS paper, year, category, categories, cited, retracted, stated,
        support, unsupported, model
    FROM papers INDEXED BY papers_facets CROSS JOIN annotations ON paper_id = papers.id
    WHERE framework = {framework} AND current = 1)"""
_MOVES = """(
    SELECT move, count(support) AS supports, total(support) AS support,
        sum(unsupported_numbers > 0) AS numbers, sum(unsupported_names > 0) AS names
    FROM moves WHERE framework = {framework} AND current = 1 AND stated = 1 GROUP BY move)"""
_FTS_MOVES = (
    "moves_fts CROSS JOIN moves ON moves.id = moves_fts.rowid"
    " WHERE moves.framework = {framework} AND moves.current = 1"
)
_YEARS = """
    WITH RECURSIVE found(year) AS (SELECT min(year) FROM papers UNION ALL
        SELECT (SELECT min(papers.year) FROM papers WHERE papers.year > found.year) FROM found
        WHERE found.year IS NOT NULL)
    SELECT year FROM found WHERE year IS NOT NULL"""
"""SQL for the distinct known years of all papers, in ascending order.

The query steps through the index of years, whereas DISTINCT would read all papers.
"""
_HIT = """
    SELECT id_field, source_id AS id, title, year, move, moves.text, paper_id, annotation_id,
        {snippet} AS snippet,
        (SELECT CASE WHEN json_valid(record) THEN json_extract(record, '$.confidence.' || move) END
            FROM annotations WHERE annotations.id = annotation_id) AS confidence
    FROM moves JOIN papers ON papers.id = paper_id WHERE moves.id = :id"""
_SNIPPET = """(
    SELECT snippet(moves_fts, 0, :mark, :mark, '...', :length) FROM moves_fts
    WHERE moves_fts MATCH :words AND rowid = moves.id)"""


@dataclass(slots=True)
class Database(Engine):
    """The engine of an open corpus database (see `connection.open_corpus`)."""

    db: sqlite3.Connection
    framework: Framework
    has_vectors: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.db.create_function("has_category", 2, has_category, deterministic=True)

    @property
    def relations(self) -> Mapping[str, str]:
        return {
            "annotations": self._of_framework(_ANNOTATIONS),
            "moves": self._of_framework(_MOVES),
            "failures": f"(SELECT papers.id AS paper, error_type AS error{reads.FAILED})",
        }

    @property
    def fts(self) -> sqlite3.Connection:
        return self.db

    @property
    def fts_moves(self) -> str:
        return self._of_framework(_FTS_MOVES)

    @property
    def fts_paper(self) -> str:
        return "paper_id"

    def years(self) -> list[int | None]:
        unknown = self.db.execute("SELECT year FROM papers WHERE year IS NULL LIMIT 1")
        return [row["year"] for row in (*self.db.execute(_YEARS), *unknown)]

    def hits(self, best: Sequence[Scored], words: str) -> Iterator[Hit]:
        sql = _HIT.format(snippet=_SNIPPET if words else "NULL")
        marked = {"words": words, "mark": MARK, "length": SNIPPET_WORDS}
        for move_id, score in best:
            row = dict(self.db.execute(sql, {"id": move_id, **marked}).fetchone())
            snippet = row.pop("snippet") or beginning_of(row["text"])
            yield Hit(**row, snippet=snippet, score=round(score, 3))

    def execute(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        return list(self.db.execute(sql, parameters))

    def matched(self, match: str) -> tuple[str, list[Any]]:
        sql = f"(SELECT annotation_id FROM {self.fts_moves} AND moves_fts MATCH ?)"  # noqa: S608
        return sql, [match]

    def texts(self, wanted: str) -> Iterator[QuotableText]:
        abstracts = self.db.execute(
            "SELECT id, ?, abstract, NULL FROM papers ORDER BY id", [ABSTRACT]
        )
        moves = self.db.execute(
            "SELECT paper_id, move, text, annotation_id FROM moves"
            " WHERE framework = ? AND current = 1 AND stated = 1 ORDER BY paper_id, id",
            [self.framework.name],
        )
        for number, place, text, made in heapq.merge(abstracts, moves, key=itemgetter(0)):
            yield QuotableText(number, place, text, partial(self._quotable, number, made))

    def count_papers(self) -> int:
        [(count,)] = self.db.execute("SELECT count(*) FROM papers")
        return int(count) - merging.count_merged(self.db)

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        from skills.corpus.search.vectors import Embedder, complete

        complete(self.db, Embedder.load(), tick, check)

    def find(self, wanted: str) -> list[reads.StoredPaper]:
        return reads.find(self.db, wanted)

    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        return reads.annotated(self.db, self.framework, ids)

    def failures(self) -> Iterator[Failure]:
        return reads.failures(self.db)

    def id_column(self, ids: Sequence[int]) -> str:
        return reads.id_column(self.db, ids)

    def stored_records(self) -> Iterator[tuple[int, str, str, str, str | None]]:
        yield from self.db.execute(
            "SELECT annotations.id, source_id, abstract, record, key FROM annotations"
            " JOIN papers ON papers.id = paper_id ORDER BY annotations.id"
        )

    def _of_framework(self, sql: str) -> str:
        return sql.format(framework="'" + self.framework.name.replace("'", "''") + "'")

    def _quotable(self, paper_id: int, annotation_id: int | None) -> tuple[Paper, object]:
        """Return a paper and the stored anchors of an annotation.

        The anchors are None if `annotation_id` is None or the annotation has no stored anchors.
        """
        anchors = None
        if annotation_id is not None:
            sql = "SELECT record FROM annotations WHERE id = ?"
            [(record,)] = self.db.execute(sql, [annotation_id])
            anchors = stored_record(record).get("anchors")
        return papers.stored(self.db, paper_id), anchors


@contextlib.contextmanager
def opened(
    path: Path, framework: Framework, notice: Callable[[str], None] = lambda text: None
) -> Iterator[Engine]:
    """Open an existing corpus for reading, and yield its engine.

    Args:
        path: the file of a database, or a folder of parts with an index.
        framework: the framework of the annotations to read.
        notice: called with each sentence about parts that are left out.

    Raises:
        InputError, OutputError: the corpus does not exist, or cannot be opened.
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


def selected(call: Call, corpus: Engine, conditions: Sequence[Condition]) -> list[int]:
    """Return the ids of the current annotations that meet all `conditions`.

    Papers without a value that a condition needs are left out; a notice states their number.

    Raises:
        NothingFound: no annotation meets the conditions.
    """
    found = corpus.select(conditions)
    for column, count in found.unknown.items():
        call.screen.notice(left_out(count, column))
    if not found.ids:
        raise NothingFound(
            f"no annotation meets {flatten(call.text)[:80]}"
            if conditions
            else f"the corpus has no annotations by the framework {corpus.framework.name}",
            hint="`/corpus stats` shows the contents of the corpus; `/annotate TABLE` adds "
            "annotations.",
        )
    return found.ids


@lru_cache(maxsize=4096)
def has_category(text: str, wanted: str) -> bool:
    """Return True if the text of `Paper.categories` contains the category `wanted`.

    Args:
        wanted: a category in lower case.
    """
    return wanted in (category.casefold() for category in categories(text))
