"""The corpus in a folder of parts: `Storage` by their index, DuckDB and the parts themselves."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import InputError
from skills.corpus.content_key import verify
from skills.corpus.db.reads import StoredPaper
from skills.corpus.identity.identifiers import identifiers_of
from skills.corpus.parts import duck, facts, quoting
from skills.corpus.parts.index import Index, open_index
from skills.corpus.parts.rows import Rows
from skills.corpus.parts.search import Moves
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import fulltext
from skills.corpus.search.filters import LOOKED_UP, MATCHED, Condition, Selected, without_value
from skills.corpus.search.fulltext import Found
from skills.corpus.search.query_syntax import Query
from skills.corpus.search.quotes import Quote
from skills.corpus.stats import Stats, Tally
from skills.nanda.framework import Framework
from skills.nanda.paper import find_arxiv_id
from skills.nanda.text import counted

if TYPE_CHECKING:
    import duckdb

    from skills.corpus.meaning.similar import Similar


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
        """DuckDB with the views of `facts.prepare`."""
        if self.started is None:
            self.started = self.stack.enter_context(duck.connected(self.index.folder))
            facts.prepare(self.started, self.index)
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
        return quoting.find(self.duckdb, self.index, self.rows, wording, limit)

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
