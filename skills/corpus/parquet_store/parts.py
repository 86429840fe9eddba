"""The corpus in a folder of parts: `Storage` by their index, DuckDB and the parts themselves."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import InputError
from skills.corpus.content_key import verify
from skills.corpus.db.reads import StoredPaper
from skills.corpus.identity.identifiers import identifiers_of
from skills.corpus.parquet_store.duckdb_views import (
    connected,
    prepare,
    sql_files,
    sql_name,
    sql_text,
)
from skills.corpus.parquet_store.index import UNKNOWN_YEAR, Index, open_index
from skills.corpus.parquet_store.part_rows import Row, Rows
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import fulltext
from skills.corpus.search.filters import LOOKED_UP, MATCHED, Condition, Selected, without_value
from skills.corpus.search.fulltext import MARK, SNIPPET_WORDS, Found, Hit
from skills.corpus.search.query_syntax import Query, Years
from skills.corpus.search.quotes import ABSTRACT, Quote, folded_wording, places_of, quote_of
from skills.corpus.stats import Stats, Tally
from skills.corpus.tables.columns import CONFIDENCE
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, find_arxiv_id
from skills.nanda.text import counted

if TYPE_CHECKING:
    import duckdb

    from skills.corpus.search.by_meaning import Similar


NAMED = 3
"""Parts that are named in a message."""


@contextlib.contextmanager
def opened(folder: Path, framework: Framework) -> Iterator[Parts]:
    """Open a folder of parts that has an index.

    Raises:
        InputError: it has no parts or no index, or a part cannot be read.
    """
    with open_index(folder, framework) as index, contextlib.ExitStack() as stack:
        yield Parts(index, Rows(index), stack)


@dataclass(slots=True)
class Parts:
    """`Storage` of an open index. DuckDB is started by the first method that needs it."""

    index: Index
    rows: Rows
    stack: contextlib.ExitStack
    started: duckdb.DuckDBPyConnection | None = None
    has_vectors: ClassVar[bool] = False

    @property
    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """DuckDB with the views of `prepare`."""
        if self.started is None:
            self.started = self.stack.enter_context(connected(self.index.folder))
            prepare(self.started, self.index)
        return self.started

    def left_out(self) -> Iterator[str]:
        """Yield what is in the folder and not read, and why."""
        index, folder = self.index, self.index.folder
        if index.new:
            yield (
                f"{_parts(index.new)} not in the index, and left out: `/corpus index {folder}` "
                "adds what is new or was written again"
            )
        for name, reason in itertools.islice(index.refused.items(), NAMED):
            yield f"{name} is left out: it {reason}"
        if (more := len(index.refused) - NAMED) > 0:
            yield f"{more:,} more parts are left out: `/corpus index {folder}` names them"
        if index.gone:
            yield (
                f"{_parts(index.gone)} no longer in the folder: `/corpus index {folder}` finds "
                "other annotations of their papers"
            )

    def search(self, query: Query) -> Found:
        assert query.by == "words", "it has no vectors"
        return fulltext.search(Moves(self.index, self.rows), query)

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        """Do nothing: there are none."""

    def similar(self, wanted: str, move: str | None, limit: int) -> list[Similar]:
        return []

    def quotes(self, wording: str, limit: int) -> list[Quote]:
        return find(self.duckdb, self.index, self.rows, wording, limit)

    def select(self, conditions: Sequence[Condition]) -> Selected:
        for name in LOOKED_UP:
            if any(condition.needs == name for condition in conditions):
                raise InputError(
                    f"a folder of parts does not state {name}", where=str(self.index.folder)
                )
        self.duckdb.execute(
            "CREATE OR REPLACE MACRO has_category(of, wanted) AS list_contains(of, wanted)"
        )
        wanted, parameters = self._all_of(conditions)
        ids = self._ids(f"WHERE {wanted} ORDER BY paper, id", parameters)
        unknown = {}
        for column, others in without_value(conditions):
            rest, parameters = self._all_of(others)
            sql = f"SELECT count(*) FROM annotations WHERE {column} IS NULL AND {rest}"
            [(number,)] = self.duckdb.execute(sql, parameters).fetchall()
            if number:
                unknown[column] = number
        return Selected(ids, unknown)

    def statistics(self) -> Stats:
        framework = self.index.framework
        tally = Tally(framework)
        for category, year, stated, count in self.duckdb.execute(
            "SELECT category, year, stated, count(*) FROM annotations GROUP BY ALL"
        ).fetchall():
            tally.facets[category, year, frozenset(stated.split())] += count
        sums = ", ".join(
            f"count(support_{i}), coalesce(sum(support_{i}), 0)"
            for i in range(len(framework.names))
        )
        [values] = self.duckdb.execute(f"SELECT {sums} FROM annotations").fetchall()
        for move, *found in zip(framework.names, values[::2], values[1::2], strict=True):
            tally.sums[move, "supports"], tally.sums[move, "support"] = found
        for what in ("numbers", "names"):
            for move, count in self.duckdb.execute(
                f"SELECT move, count(*) FROM (SELECT unnest({what}) AS move FROM annotations)"
                " GROUP BY move"
            ).fetchall():
                tally.sums[move, what] = count
        sql = "SELECT model, count(*) FROM annotations GROUP BY model ORDER BY model"
        tally.models.update(dict(self.duckdb.execute(sql).fetchall()))
        sql = "SELECT count(*) FROM facts WHERE id = paper"
        [(papers,)] = self.duckdb.execute(sql).fetchall()
        sql = (
            "SELECT error, count(*) FROM facts WHERE current AND error <> ''"
            " GROUP BY error ORDER BY min(paper)"
        )
        return tally.stats(Counter(dict(self.duckdb.execute(sql).fetchall())), papers)

    def find(self, wanted: str) -> list[StoredPaper]:
        found = self._papers("source_id = ?", wanted)
        if not found and wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
            found = self._papers("paper = ?", int(wanted))
        if not found and (arxiv_id := find_arxiv_id(wanted, allow_bare=True)) not in (None, wanted):
            return self.find(str(arxiv_id))
        return found

    def current_ids(self) -> list[int]:
        return self._ids("ORDER BY paper, id", [])

    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        return (item for _, item in self.rows.annotated(ids))

    def failures(self) -> Iterator[Failure]:
        sql = "SELECT id FROM facts WHERE current AND error <> '' ORDER BY paper"
        ids = [row_id for (row_id,) in self.duckdb.execute(sql).fetchall()]
        failed = (self.rows.failure(*one) for one in self.rows.read(ids))
        return (failure for failure in failed if failure)

    def id_column(self, ids: Sequence[int]) -> str:
        wanted, fields = sorted(ids), set()
        at = 0
        for part in self.index.parts:
            while at < len(wanted) and wanted[at] < part.first:
                at += 1
            if at < len(wanted) and wanted[at] < part.first + part.rows:
                fields.add(self.rows.id_field(part.first))
        return fields.pop() if len(fields) == 1 else "id"

    def verify(self) -> tuple[int, list[dict[str, Any]]]:
        sql = "SELECT id FROM facts WHERE annotated ORDER BY id"
        ids = [row_id for (row_id,) in self.duckdb.execute(sql).fetchall()]
        checked, wrong = 0, []
        for row_id, item in self.rows.annotated(ids):
            checked += 1
            try:
                reasons = verify(item.record, item.paper.abstract)
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                reasons = [f"its record is damaged ({type(exc).__name__})"]
            if reasons:
                wrong.append({"annotation": row_id, "paper": item.paper.id, "reasons": reasons})
        return checked, wrong

    def _papers(self, condition: str, value: object) -> list[StoredPaper]:
        """Return the papers of rows that meet a condition on facts."""
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
        paper = self.rows.paper(row_id, row)
        source = items[0].paper.source if items else paper.source
        return StoredPaper(number, paper, items, failure, identifiers_of(paper, source))

    def _ids(self, sql: str, parameters: list[Any]) -> list[int]:
        found = self.duckdb.execute(f"SELECT id FROM annotations {sql}", parameters)
        ids: list[int] = found.fetchnumpy()["id"].tolist()
        return ids

    def _all_of(self, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
        """Return the SQL for all conditions, and its parameters."""
        sql, parameters = ["TRUE"], list[Any]()
        for one in conditions:
            matched = f"(SELECT id FROM {self._matched(one.match)})" if one.match else ""
            sql.append(f"({one.sql.replace(MATCHED, matched)})")
            parameters += one.parameters
        return " AND ".join(sql), parameters

    def _matched(self, match: str) -> str:
        """Return the name of a table with the ids of rows with a move that matches."""
        import numpy as np

        sql = "SELECT rowid FROM moves_fts WHERE moves_fts MATCH ?"
        found = self.index.db.execute(sql, [match])
        rowids = np.fromiter((rowid for (rowid,) in found), np.int64)
        name = f"matched_{abs(hash(match))}"
        self.duckdb.register(name, {"id": rowids // len(self.index.framework.names)})
        return name


def _parts(names: Sequence[str]) -> str:
    """Return "1 part (a.parquet) is" or "4 parts (a.parquet, ...) are"."""
    listed = ", ".join((*names[:NAMED], *["..."] * (len(names) > NAMED)))
    return f"{counted(len(names), 'part')} ({listed}) {'is' if len(names) == 1 else 'are'}"


_IS_CURRENT = """
    (SELECT past FROM live WHERE first <= moves_fts.rowid / :moves ORDER BY first DESC LIMIT 1)
        > moves_fts.rowid / :moves
    AND NOT EXISTS (SELECT 1 FROM repeats
        WHERE repeats.id = moves_fts.rowid / :moves AND repeats.current = 0)
"""


@dataclass(frozen=True, slots=True)
class Moves:
    """`fulltext.Moves` of an index."""

    index: Index
    rows: Rows

    @property
    def db(self) -> sqlite3.Connection:
        return self.index.db

    def newest(self, match: str, limit: int) -> list[int]:
        found = self.db.execute(
            f"SELECT rowid FROM moves_fts WHERE moves_fts MATCH :match AND {_IS_CURRENT}"
            " ORDER BY rowid DESC LIMIT :limit",
            {"match": match, "moves": self._count, "limit": limit},
        )
        return [rowid for (rowid,) in found]

    def without_year(self, match: str) -> int:
        sql = "SELECT 1 FROM years WHERE year = ?"
        if self.db.execute(sql, [UNKNOWN_YEAR]).fetchone() is None:
            return 0
        found = self.db.execute(
            "SELECT count(DISTINCT coalesce((SELECT paper FROM repeats"
            " WHERE repeats.id = moves_fts.rowid / :moves), moves_fts.rowid / :moves))"
            f" FROM moves_fts WHERE moves_fts MATCH :match AND {_IS_CURRENT}",
            {"match": match, "moves": self._count},
        )
        return int(found.fetchone()[0])

    def years(self, among: Years) -> list[int]:
        limits = [among.first or 0, among.last or 9999]
        sql = "SELECT year FROM years WHERE year BETWEEN ? AND ? ORDER BY year"
        return [year for (year,) in self.db.execute(sql, limits)]

    def hits(self, words: str, best: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        names = self.index.framework.names
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for rowid, _ in best:
            wanted[names[rowid % self._count]].append(rowid // self._count)
        read = {
            (row_id, move): row
            for move, ids in wanted.items()
            for row_id, row in self.rows.read(ids, ("title", "published", CONFIDENCE, move))
        }
        papers = paper_numbers(self.index, [rowid // self._count for rowid, _ in best])
        with contextlib.closing(_snippets()) as snippets:
            for rowid, score in best:
                row_id, place = divmod(rowid, self._count)
                move = names[place]
                row = read[row_id, move]
                yield Hit(
                    self.rows.id_field(row_id),
                    row["id"],
                    row["title"],
                    Paper("id", "", "", "", published=row["published"]).year,
                    move,
                    row[move],
                    _snippet(snippets, row[move], words),
                    round(score, 3),
                    papers[row_id],
                    row_id,
                    confidence=self.rows.confidence(row_id, row).get(move),
                )

    @property
    def _count(self) -> int:
        return len(self.index.framework.names)


def paper_numbers(index: Index, ids: Sequence[int]) -> dict[int, int]:
    """Return the number of the paper of each of these rows."""
    sql = "SELECT paper FROM repeats WHERE id = ?"
    found = {row_id: index.db.execute(sql, [row_id]).fetchone() for row_id in ids}
    return {row_id: row[0] if row else row_id for row_id, row in found.items()}


def _snippets() -> sqlite3.Connection:
    """Return a database for one text at a time; the index has no copy of the texts."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(
        "CREATE VIRTUAL TABLE moves_fts USING fts5 (text, facets, tokenize='porter unicode61')"
    )
    return db


def _snippet(db: sqlite3.Connection, text: str, words: str) -> str:
    db.execute("DELETE FROM moves_fts")
    db.execute("INSERT INTO moves_fts (text, facets) VALUES (?, '')", [text])
    found = db.execute(
        "SELECT snippet(moves_fts, 0, ?, ?, '...', ?) FROM moves_fts WHERE moves_fts MATCH ?",
        [MARK, MARK, SNIPPET_WORDS, words],
    )
    return str(found.fetchone()[0])


def find(
    db: duckdb.DuckDBPyConnection, index: Index, rows: Rows, wording: str, limit: int
) -> list[Quote]:
    """Return the passages with `wording`, by paper: those of the abstract, then those of moves.

    Args:
        db: with the views of `prepare`.
    """
    wanted = folded_wording(wording)
    return list(itertools.islice(_found(db, index, rows, wanted), limit))


def _found(db: duckdb.DuckDBPyConnection, index: Index, rows: Rows, wanted: str) -> Iterator[Quote]:
    framework = index.framework
    papers, wholes = {}, []
    for row_id, paper, has_moves in _candidates(db, index, wanted):
        papers[row_id] = paper
        wholes += [(paper, 0, row_id)] * (row_id == paper) + [(paper, 1, row_id)] * has_moves
    wholes.sort()
    read = rows.read(row_id for _, _, row_id in wholes)
    for (paper, is_moves, _), (row_id, row) in zip(wholes, read, strict=True):
        texts = {ABSTRACT: row["abstract"]}
        if is_moves:
            stated = ((name, row[name]) for name in framework.names)
            texts = {name: text for name, text in stated if text != framework.not_stated}
        for place, text in texts.items():
            for span in places_of(wanted, text):
                yield _quote(rows, row_id, row, paper, place, span)


def _quote(
    rows: Rows, row_id: int, row: Row, paper: int, place: str, span: tuple[int, int]
) -> Quote:
    anchors = None
    if place != ABSTRACT:
        anchors = rows.annotation(row_id, row).record.get("anchors")
    return quote_of(rows.paper(row_id, row), paper, place, row[place], span, anchors)


def _candidates(db: duckdb.DuckDBPyConnection, index: Index, wanted: str) -> list[Any]:
    """Return id, number of the paper, and whether the annotation is current, of some rows.

    These are all with `wanted`, and some others. Of a text in ASCII, lower case is the same as
    folded, and white space alone is folded otherwise: it must contain the longest word.
    """
    longest = max(wanted.split(), key=len)
    texts = map(sql_name, ("abstract", *index.framework.names))
    has = " OR ".join(f"strlen({t}) <> length({t}) OR contains(lower({t}), $word)" for t in texts)
    places = {index.folder.absolute() / one.file.name: one.first for one in index.parts}
    known = ", ".join(f"({sql_text(str(path))}, {first})" for path, first in places.items())
    paths = sql_files(places)
    found: list[Any] = db.execute(
        f"""
        SELECT f.id, f.paper, f.annotated AND f.current FROM (
            SELECT first + file_row_number AS id
            FROM read_parquet({paths}, filename=true, file_row_number=true, union_by_name=true)
            JOIN (VALUES {known}) AS of(path, first) ON path = filename WHERE {has}
        ) r JOIN facts f ON f.id = r.id
        """,
        {"word": longest},
    ).fetchall()
    return found
