"""Define the searches, filters and statistics of an open corpus.

An engine provides the corpus as relations with the same columns: by SQLite for a database, by
DuckDB for a folder of parts. Each search, filter and statistic is defined once, over these
relations:

    annotations   current annotations with their papers: id, paper, year, category, categories,
                  stated, support, unsupported, model; in a database also cited, retracted
    moves         for each move: the number of supports and their sum, and the numbers of
                  moves with a number or name that the abstract lacks (`stats.SUMS`)
    failures      papers without an annotation: paper, error
"""

from __future__ import annotations

import itertools
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from skills.corpus.content_key import verify
from skills.corpus.db.reads import StoredPaper
from skills.corpus.outputs import Hit, Hits, Passage, SimilarPaper, Stats, Verified, WrongKey
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import fulltext, quotes
from skills.corpus.search.filters import MATCHED, Condition, Selected
from skills.corpus.search.fulltext import Scored
from skills.corpus.search.query_syntax import Query
from skills.corpus.search.quotes import QuotableText
from skills.corpus.stats import SUMS, Tally
from skills.nanda.framework import Framework

_BY_PAPER = "ORDER BY paper, id"


class Engine(ABC):
    """An open corpus, read by the framework with which it was opened.

    All methods use the same ids of annotations.

    Attributes:
        has_vectors: True if moves can be searched by meaning.
    """

    framework: Framework
    has_vectors: ClassVar[bool] = False

    @property
    @abstractmethod
    def relations(self) -> Mapping[str, str]:
        """The SQL of the relations, by name."""

    @property
    @abstractmethod
    def fts(self) -> sqlite3.Connection:
        """The database with the full text of moves (`fulltext.MoveIndex`)."""

    @property
    @abstractmethod
    def fts_moves(self) -> str: ...

    @property
    @abstractmethod
    def fts_paper(self) -> str: ...

    @abstractmethod
    def years(self) -> list[int | None]: ...

    @abstractmethod
    def hits(self, best: Sequence[Scored], words: str) -> Iterator[Hit]: ...

    @abstractmethod
    def execute(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the SQL of the engine."""

    @abstractmethod
    def matched(self, match: str) -> tuple[str, list[Any]]:
        """Return SQL for the ids of annotations with a matching move, and its parameters."""

    @abstractmethod
    def texts(self, wanted: str) -> Iterator[QuotableText]:
        """Yield texts by paper, the abstract first; texts without `wanted` may be left out."""

    @abstractmethod
    def count_papers(self) -> int:
        """Return the number of papers, annotated or not."""

    @abstractmethod
    def find(self, wanted: str) -> list[StoredPaper]:
        """Return the papers with this id, or else the paper with this number."""

    @abstractmethod
    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        """Yield the annotations with these ids in order, keeping only a few of them in memory."""

    @abstractmethod
    def failures(self) -> Iterator[Failure]:
        """Yield the latest failure of each paper without a current annotation."""

    @abstractmethod
    def id_column(self, ids: Sequence[int]) -> str:
        """Return the name of the id field of annotated papers, or "id" if they have several."""

    @abstractmethod
    def stored_records(self) -> Iterator[tuple[int, str, str, Mapping[str, Any] | str, str | None]]:
        """Yield id, paper, abstract, record and key of all annotations, for `verify`."""

    @abstractmethod
    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        """Add missing vectors (see `vectors.complete`).

        Raises:
            UsageError: the model is not installed.
            InputError: the engine has no vectors.
        """

    @abstractmethod
    def similar(self, wanted: str, move: str | None, limit: int) -> list[SimilarPaper]:
        """Return the papers most similar to a paper; `complete_vectors` must be called before."""

    def search(self, query: Query) -> Hits:
        """Find moves by words, in a database also by meaning (after `complete_vectors`)."""
        return fulltext.search(self, query)

    def quotes(self, wording: str, limit: int) -> list[Passage]:
        """Return the passages that contain `wording`, by paper: in the abstract, then in moves.

        Raises:
            InputError: `wording` has neither letters nor digits.
        """
        wanted = quotes.folded_wording(wording)
        return list(itertools.islice(quotes.passages(self.texts(wanted), wanted), limit))

    def current_ids(self) -> list[int]:
        """Return the ids of all current annotations, in the order of their papers."""
        return self.ids()

    def select(self, conditions: Sequence[Condition]) -> Selected:
        """Select the current annotations that meet all conditions.

        Raises:
            InputError: the engine has no column that a condition needs.
        """
        unknown = {}
        for column in dict.fromkeys(filter(None, (one.needs for one in conditions))):
            others = [one for one in conditions if one.needs != column]
            where, parameters = self.all_of([Condition(f"{column} IS NULL"), *others])
            [(number,)] = self.query("count(*)", "annotations", where, parameters)
            if number:
                unknown[column] = number
        return Selected(self.ids(*self.all_of(conditions)), unknown)

    def statistics(self) -> Stats:
        """Return the statistics of the whole corpus."""
        tally = Tally(self.framework)
        for category, year, stated, count in self.query(
            "category, year, stated, count(*)", "annotations", more="GROUP BY 1, 2, 3"
        ):
            tally.facets[category, year, frozenset(stated.split())] += count
        for move, *sums in self.query(f"move, {', '.join(SUMS)}", "moves"):
            tally.sums.update({(move, kind): sum_ for kind, sum_ in zip(SUMS, sums, strict=True)})
        for model, count in self.query(
            "model, count(*)", "annotations", more="GROUP BY model ORDER BY model"
        ):
            tally.models[model] = count
        failed = self.query(
            "error, count(*)", "failures", more="GROUP BY error ORDER BY min(paper)"
        )
        return tally.stats(Counter(dict(failed)), self.count_papers())

    def verify(self) -> Verified:
        """Compare all annotations, current or not, with their keys."""
        checked, wrong = 0, []
        for number, paper, abstract, record, key in self.stored_records():
            checked += 1
            if reasons := verify(record, abstract, key):
                wrong.append(WrongKey(annotation=number, paper=paper, reasons=reasons))
        return Verified(checked=checked, wrong=wrong)

    def query(
        self,
        columns: str,
        relation: str,
        where: str = "TRUE",
        parameters: Sequence[Any] = (),
        more: str = "",
    ) -> list[tuple[Any, ...]]:
        """Return columns of the rows of a relation that meet the condition `where`."""
        relation = self.relations[relation]
        sql = f"SELECT {columns} FROM {relation} AS r WHERE {where} {more}"  # noqa: S608
        return self.execute(sql, parameters)

    def ids(self, where: str = "TRUE", parameters: Sequence[Any] = ()) -> list[int]:
        """Return the ids of annotations that meet a condition, in the order of their papers."""
        return [row[0] for row in self.query("id", "annotations", where, parameters, _BY_PAPER)]

    def all_of(self, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
        """Return the SQL that combines all conditions, and its parameters."""
        sql, parameters = ["TRUE"], list[Any]()
        for one in conditions:
            matched, of_match = self.matched(one.match) if one.match else ("", [])
            sql.append(f"({one.sql.replace(MATCHED, matched)})")
            parameters += (*one.parameters, *of_match)
        return " AND ".join(sql), parameters
