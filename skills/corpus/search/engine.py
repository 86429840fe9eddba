"""Define the searches, filters and statistics of an open corpus.

An engine reads a database with SQLite, or a folder of parts with DuckDB. Both engines provide the
following relations, so that the same query computes a filter or statistic in both engines:

    annotations   current annotations with their papers: id, paper, year, category, categories,
                  stated, support, unsupported, model; in a database also cited, retracted
    moves         for each move, the sums that `stats.SUMS` names
    failures      failed papers without a current annotation: paper, error
"""

from __future__ import annotations

import itertools
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from skills.corpus.db.damage import verify
from skills.corpus.db.reads import StoredPaper
from skills.corpus.outputs import Hit, Hits, Passage, SimilarPaper, Stats, Verified, WrongKey
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import fulltext, quotes
from skills.corpus.search.filters import MATCHED, Condition, Selected
from skills.corpus.search.fulltext import Scored
from skills.corpus.search.query_syntax import Query, tokens
from skills.corpus.search.quotes import QuotableText
from skills.corpus.stats import SUMS, Tally
from skills.nanda.framework import Framework


class Engine(ABC):
    """An open corpus, with the framework whose annotations are searched and counted.

    An id of an annotation that one method returns is valid in all other methods.

    Attributes:
        framework: the framework of the annotations.
        has_vectors: True if moves can be searched by meaning.
    """

    framework: Framework
    has_vectors: ClassVar[bool] = False

    @property
    @abstractmethod
    def fts(self) -> sqlite3.Connection:
        """The database with the table `moves_fts`, whose rowids are the ids of moves."""

    @property
    @abstractmethod
    def fts_moves(self) -> str:
        """SQL for FROM and WHERE that selects the moves of current annotations by `framework`."""

    @property
    @abstractmethod
    def fts_paper(self) -> str:
        """The SQL expression for the row number of a move's paper."""

    @abstractmethod
    def years(self) -> list[int | None]:
        """Return the different years of papers, with None if a paper has no year."""

    @abstractmethod
    def hits(self, best: Sequence[Scored], words: str) -> Iterator[Hit]:
        """Yield the search results for moves with these ids and scores.

        Args:
            words: the FTS5 expression for the words that are marked in the snippets; "" for moves
                that were found by meaning. Their snippets are the beginnings of their texts.
        """

    @property
    @abstractmethod
    def relations(self) -> Mapping[str, str]:
        """The SQL of each relation, by name: a table or a subquery."""

    @abstractmethod
    def execute(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Execute a query in the SQL dialect of the engine, and return the rows."""

    @abstractmethod
    def matched(self, match: str) -> tuple[str, list[Any]]:
        """Return a subquery for the ids of annotations with a matching move, and the parameters.

        Args:
            match: an FTS5 expression.
        """

    @abstractmethod
    def texts(self, wanted: str) -> Iterator[QuotableText]:
        """Yield the abstracts and moves to search for the wording `wanted`, paper by paper.

        The abstract of a paper comes first. Texts that cannot contain `wanted` may be omitted.
        """

    @abstractmethod
    def count_papers(self) -> int:
        """Return the number of papers, annotated or not."""

    @abstractmethod
    def find(self, wanted: str) -> list[StoredPaper]:
        """Return the papers that an id or a row number identifies (see `reads.rows_of`)."""

    @abstractmethod
    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        """Yield the annotations in the order of `ids`; only a few are in memory at a time."""

    @abstractmethod
    def failures(self) -> Iterator[Failure]:
        """Yield the latest failure of each paper without a current annotation."""

    @abstractmethod
    def id_column(self, ids: Sequence[int]) -> str:
        """Return the `id_field` that the papers of these annotations share, or else "id"."""

    @abstractmethod
    def stored_records(self) -> Iterator[tuple[int, str, str, Mapping[str, Any] | str, str | None]]:
        """Yield the values that `verify` compares, for all annotations, current or not.

        Yields:
            The id of the annotation, the id of the paper, the abstract, the record, and the content
            key or None if no key is stored.
        """

    @abstractmethod
    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        """Compute the missing vectors; see `vectors.complete`.

        Raises:
            UsageError: the embedding model is not installed.
            InputError: the engine has no vectors.
        """

    def search(self, query: Query) -> Hits:
        """Return the moves that match a query, the best first.

        A search by meaning requires a database whose vectors `complete_vectors` has computed.
        """
        if query.by == "words":
            best, without_year = fulltext.best_moves(self, query)
            hits = self.hits(best, fulltext.in_text(tokens(query.text)))
            return Hits(hits=list(hits), without_year=without_year)
        from skills.corpus.search import by_meaning

        return by_meaning.search(self, query)

    def similar(self, wanted: str, move: str | None, limit: int) -> list[SimilarPaper]:
        """Return the papers most similar to a paper.

        `complete_vectors` must have been called.
        """
        from skills.corpus.search import by_meaning

        return by_meaning.similar_papers(self, wanted, move, limit)

    def quotes(self, wording: str, limit: int) -> list[Passage]:
        """Return the passages that contain `wording`, paper by paper, the abstract first.

        Raises:
            InputError: `wording` has neither letters nor digits.
        """
        wanted = quotes.folded_wording(wording)
        return list(itertools.islice(quotes.passages(self.texts(wanted), wanted), limit))

    def select(self, conditions: Sequence[Condition]) -> Selected:
        """Return the current annotations that meet all conditions, and counts of unknown values.

        Raises:
            InputError: the engine lacks a column that a condition uses.
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
        of_models = "GROUP BY model ORDER BY model"
        tally.models.update(dict(self.query("model, count(*)", "annotations", more=of_models)))
        of_errors = "GROUP BY error ORDER BY min(paper)"
        failed = dict(self.query("error, count(*)", "failures", more=of_errors))
        return tally.stats(Counter(failed), self.count_papers())

    def verify(self) -> Verified:
        """Return the number of annotations, and the annotations with a wrong content key.

        Annotations that are not current are included.
        """
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
        """Return columns of the rows of a relation.

        Args:
            columns: SQL expressions, separated by commas.
            relation: a name in `relations`.
            where: an SQL condition.
            more: SQL after the condition, such as GROUP BY.
        """
        relation = self.relations[relation]
        sql = f"SELECT {columns} FROM {relation} AS r WHERE {where} {more}"  # noqa: S608
        return self.execute(sql, parameters)

    def ids(self, where: str = "TRUE", parameters: Sequence[Any] = ()) -> list[int]:
        """Return the ids of the current annotations that meet an SQL condition, sorted by paper."""
        rows = self.query("id", "annotations", where, parameters, more="ORDER BY paper, id")
        return [row_id for (row_id,) in rows]

    def all_of(self, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
        """Return the SQL condition that combines all `conditions` with AND, and its parameters."""
        sql, parameters = ["TRUE"], list[Any]()
        for one in conditions:
            matched, of_match = self.matched(one.match) if one.match else ("", [])
            sql.append(f"({one.sql.replace(MATCHED, matched)})")
            parameters += (*one.parameters, *of_match)
        return " AND ".join(sql), parameters
