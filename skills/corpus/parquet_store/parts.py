"""Search and read a corpus in a folder of parts.

The index answers full-text queries, and DuckDB answers other queries. The texts of the results are
read from the parts.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from skills.corpus.db.papers import paper_of
from skills.corpus.db.reads import StoredPaper
from skills.corpus.db.schema import TOKENIZER
from skills.corpus.identity.identifiers import identifiers_of
from skills.corpus.outputs import Hit
from skills.corpus.parquet_store.duckdb_views import connected, prepare, sql_files, sql_text
from skills.corpus.parquet_store.index import UNKNOWN_YEAR, Index, open_index
from skills.corpus.parquet_store.part_rows import Row, Rows
from skills.corpus.records import Annotated, Failure
from skills.corpus.search.engine import Engine
from skills.corpus.search.filters import LOOKED_UP, Condition, Selected
from skills.corpus.search.fulltext import MARK, SNIPPET_WORDS, Scored
from skills.corpus.search.query_syntax import quoted as sql_name
from skills.corpus.search.quotes import ABSTRACT, QuotableText
from skills.corpus.tables.columns import CONFIDENCE
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, find_arxiv_id, year_of
from skills.nanda.text import counted

if TYPE_CHECKING:
    import duckdb

NAMED = 3
"""Maximum number of parts that a message lists."""


@contextlib.contextmanager
def opened(folder: Path, framework: Framework) -> Iterator[Parts]:
    """Yield the engine of a folder of parts; the index is closed after the block.

    Raises:
        InputError: the folder has no readable part or no valid index, or a part cannot be read.
    """
    with open_index(folder, framework) as index, contextlib.ExitStack() as stack:
        yield Parts(framework, index, Rows(index), stack)


@dataclass
class Parts(Engine):
    """An open folder of parts. DuckDB is started when a method first needs DuckDB."""

    framework: Framework
    index: Index
    rows: Rows
    stack: contextlib.ExitStack

    @functools.cached_property
    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """The connection to DuckDB, with the views of `duckdb_views.prepare`."""
        db = self.stack.enter_context(connected(self.index.folder))
        prepare(db, self.index)
        return db

    @property
    def relations(self) -> Mapping[str, str]:
        return {name: name for name in ("annotations", "moves", "failures")}

    @property
    def fts(self) -> sqlite3.Connection:
        return self.index.db

    @property
    def _fts_row(self) -> str:
        """The SQL expression for the id of the row that contains a move."""
        return f"moves_fts.rowid / {len(self.framework.names)}"

    @property
    def fts_moves(self) -> str:
        row = self._fts_row
        return f"""
            moves_fts WHERE (SELECT past FROM live WHERE first <= {row}
                    ORDER BY first DESC LIMIT 1) > {row}
                AND NOT EXISTS (SELECT 1 FROM repeats
                    WHERE repeats.id = {row} AND repeats.current = 0)"""

    @property
    def fts_paper(self) -> str:
        row = self._fts_row
        return f"coalesce((SELECT paper FROM repeats WHERE repeats.id = {row}), {row})"

    def left_out(self) -> Iterator[str]:
        """Yield sentences about parts that are left out: new, changed, unreadable, or removed."""
        index, folder = self.index, self.index.folder
        if index.new:
            yield (
                f"{_parts(index.new)} not in the index and left out: "
                f"`/corpus index {folder}` adds new and changed parts"
            )
        for name, reason in itertools.islice(index.refused.items(), NAMED):
            yield f"{name} is left out: it {reason}"
        if (more := len(index.refused) - NAMED) > 0:
            yield f"{counted(more, 'more part')} left out: `/corpus index {folder}` names them"
        if index.gone:
            yield (
                f"{_parts(index.gone)} no longer in the folder: `/corpus index {folder}` finds "
                "other annotations of their papers"
            )

    def years(self) -> list[int | None]:
        years = self.fts.execute("SELECT year FROM years ORDER BY year")
        return [None if year == UNKNOWN_YEAR else year for (year,) in years]

    def hits(self, best: Sequence[Scored], words: str) -> Iterator[Hit]:
        names = self.framework.names
        ids = dict.fromkeys(move_id // len(names) for move_id, _ in best)
        read = dict(self.rows.read(ids, ("title", "published", CONFIDENCE, *names)))
        with contextlib.closing(_snippets()) as snippets:
            for move_id, score in best:
                row_id, place = divmod(move_id, len(names))
                move, row = names[place], read[row_id]
                repeat = self.fts.execute("SELECT paper FROM repeats WHERE id = ?", [row_id])
                yield Hit(
                    id_field=row["id_field"],
                    id=row["source_id"],
                    title=row["title"],
                    year=year_of(row["published"]),
                    move=move,
                    text=row[move],
                    snippet=_snippet(snippets, row[move], words),
                    score=round(score, 3),
                    paper_id=next((paper for (paper,) in repeat), row_id),
                    annotation_id=row_id,
                    confidence=self.rows.confidence(row_id, row).get(move),
                )

    def execute(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.duckdb.execute(sql, parameters).fetchall()
        return found

    def ids(self, where: str = "TRUE", parameters: Sequence[Any] = ()) -> list[int]:
        sql = f"SELECT id FROM annotations WHERE {where} ORDER BY paper, id"
        ids: list[int] = self.duckdb.execute(sql, parameters).fetchnumpy()["id"].tolist()
        return ids

    def matched(self, match: str) -> tuple[str, list[Any]]:
        import numpy as np

        found = self.fts.execute("SELECT rowid FROM moves_fts WHERE moves_fts MATCH ?", [match])
        move_ids = np.fromiter((rowid for (rowid,) in found), np.int64)
        name = f"matched_{abs(hash(match))}"
        self.duckdb.register(name, {"id": move_ids // len(self.framework.names)})
        return f"(SELECT id FROM {name})", []

    def select(self, conditions: Sequence[Condition]) -> Selected:
        for column in (one.needs for one in conditions):
            if column in LOOKED_UP:
                raise InputError(
                    f"a folder of parts has no column {column}", where=str(self.index.folder)
                )
        return Engine.select(self, conditions)

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        folder = self.index.folder
        raise InputError(
            "a folder of parts has no vectors to search by meaning",
            where=str(folder),
            hint=f"`/corpus add {folder} --db corpus.db` copies the parts to a database, "
            "which has vectors.",
        )

    def texts(self, wanted: str) -> Iterator[QuotableText]:
        texts = []
        for row_id, paper, has_moves in self._candidates(wanted):
            texts += [(paper, 0, row_id)] * (row_id == paper) + [(paper, 1, row_id)] * has_moves
        texts.sort()
        read = self.rows.read(row_id for _, _, row_id in texts)
        for (paper, is_moves, _), (row_id, row) in zip(texts, read, strict=True):
            for place in self.framework.names if is_moves else (ABSTRACT,):
                if row[place] != self.framework.not_stated or not is_moves:
                    reader = functools.partial(self._quoted, row_id, row, bool(is_moves))
                    yield QuotableText(paper, place, row[place], reader)

    def count_papers(self) -> int:
        # The versions of an arXiv paper are one paper, as in a database.
        [(papers,)] = self.execute(
            "SELECT count(DISTINCT arxiv_id) + count(*) FILTER (arxiv_id IS NULL) FROM"
            " (SELECT max(source_id) FILTER (arxiv) AS arxiv_id FROM facts GROUP BY paper)"
        )
        return int(papers)

    def find(self, wanted: str) -> list[StoredPaper]:
        found = self._papers("source_id = ?", wanted)
        if not found and wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
            found = self._papers("paper = ?", int(wanted))
        if not found and (arxiv_id := find_arxiv_id(wanted, allow_bare=True)) not in (None, wanted):
            return self.find(str(arxiv_id))
        return found

    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        return (item for _, item in self.rows.annotated(ids))

    def failures(self) -> Iterator[Failure]:
        sql = "SELECT id FROM facts WHERE current AND error <> '' ORDER BY paper"
        ids = [row_id for (row_id,) in self.duckdb.execute(sql).fetchall()]
        failed = (self.rows.failure(*one) for one in self.rows.read(ids))
        return (failure for failure in failed if failure)

    def id_column(self, ids: Sequence[int]) -> str:
        wanted = sorted(ids)
        fields = {
            part.id_field
            for part in self.index.parts
            if bisect_left(wanted, part.first) < bisect_left(wanted, part.first + part.rows)
        }
        return fields.pop() if len(fields) == 1 else "id"

    def stored_records(self) -> Iterator[tuple[int, str, str, Mapping[str, Any], None]]:
        ids = self.execute("SELECT id FROM facts WHERE annotated ORDER BY id")
        for row_id, item in self.rows.annotated(row_id for (row_id,) in ids):
            yield row_id, item.paper.id, item.paper.abstract, item.record, None

    def _quoted(self, row_id: int, row: Row, is_move: bool) -> tuple[Paper, object]:
        anchors = self.rows.annotation(row_id, row).record.get("anchors") if is_move else None
        return paper_of(row), anchors

    def _papers(self, condition: str, value: object) -> list[StoredPaper]:
        """Return the papers that meet an SQL condition on the view `facts`."""
        rows = self.duckdb.execute(
            "SELECT paper, list(id ORDER BY current DESC, id DESC), any_value(id) FILTER"
            f" (annotated AND current) FROM facts WHERE {condition} GROUP BY paper ORDER BY paper",
            [value],
        ).fetchall()
        return [self._paper(paper, ids[0], made) for paper, ids, made in rows]

    def _paper(self, number: int, row_id: int, made: int | None) -> StoredPaper:
        [(_, row)] = self.rows.read([row_id])
        items = () if made is None else tuple(self.annotated([made]))
        failure = None if items else self.rows.failure(row_id, row)
        paper = paper_of(row)
        source = items[0].paper.source if items else paper.source
        return StoredPaper(number, paper, items, failure, identifiers_of(paper, source))

    def _candidates(self, wanted: str) -> list[tuple[Any, ...]]:
        """Return the rows that may contain the wording `wanted`.

        DuckDB compares only the longest word of `wanted`, in lower case. Rows with a text that is
        not ASCII are always returned. The caller compares the whole wording.

        Returns:
            A tuple for each row: the id of the row, the number of its paper, and True if the row is
            a current annotation.
        """
        longest = max(wanted.split(), key=len)
        texts = map(sql_name, ("abstract", *self.framework.names))
        has = " OR ".join(
            f"strlen({t}) <> length({t}) OR contains(lower({t}), $word)" for t in texts
        )
        parts = self.index.parts
        known = ", ".join(f"({sql_text(str(one.path))}, {one.first})" for one in parts)
        paths = sql_files(one.path for one in parts)
        return self.execute(
            f"""
            SELECT f.id, f.paper, f.annotated AND f.current FROM (
                SELECT first + file_row_number AS id
                FROM read_parquet({paths}, filename=true, file_row_number=true, union_by_name=true)
                JOIN (VALUES {known}) AS of(path, first) ON path = filename WHERE {has}
            ) r JOIN facts f ON f.id = r.id
            """,
            {"word": longest},
        )


def _snippets() -> sqlite3.Connection:
    """Return a database in memory in which `_snippet` makes the snippets of search results.

    The index cannot make snippets, since it has no copies of the texts.
    """
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(f"CREATE VIRTUAL TABLE moves_fts USING fts5 (text, facets, tokenize='{TOKENIZER}')")
    return db


def _snippet(db: sqlite3.Connection, text: str, words: str) -> str:
    db.execute("DELETE FROM moves_fts")
    db.execute("INSERT INTO moves_fts (text, facets) VALUES (?, '')", [text])
    found = db.execute(
        "SELECT snippet(moves_fts, 0, ?, ?, '...', ?) FROM moves_fts WHERE moves_fts MATCH ?",
        [MARK, MARK, SNIPPET_WORDS, words],
    )
    return str(found.fetchone()[0])


def _parts(names: Sequence[str]) -> str:
    """Return "1 part (a.parquet) is" or "4 parts (a.parquet, ...) are", to begin a sentence."""
    listed = ", ".join((*names[:NAMED], *["..."] * (len(names) > NAMED)))
    return f"{counted(len(names), 'part')} ({listed}) {'is' if len(names) == 1 else 'are'}"
