"""List papers of a database by words, conditions and facets, in pages and with counts.

Unlike `/corpus filter`, a listing includes papers without an annotation. Merged rows are listed as
one paper. The values of a facet are counted among the papers that the other facets select, so that
a user can change the selection. For the counts, one query groups the papers that match the words
and conditions; the groups are cached until the database changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from harness.errors import DeadlineExceeded, InputError
from harness.support.stop_token import StopToken
from skills.corpus.corpus_store import Database
from skills.corpus.db.facets import MOVE, STATED, UNKNOWN, UNSTATED, categories
from skills.corpus.db.merging import JOINED
from skills.corpus.db.rows import Row, one, stored_record
from skills.corpus.search import filters, fulltext
from skills.corpus.search.engine import Engine
from skills.corpus.search.filters import Condition
from skills.corpus.search.query_syntax import By, Query, all_of, tokens
from skills.nanda.framework import Framework

WAYS: tuple[By, ...] = ("words", "both", "meaning")
"""The kinds of search that a user can select."""
NEAREST = 200
"""Maximum number of moves in a search by meaning."""
PATIENCE = 3.0
"""Maximum number of seconds for computing missing vectors before a search."""
ROWS = 50
"""Maximum number of papers in a page."""
BEST = "best"
"""The order by relevance, the best match first; only for a selection with words."""
SORTS: Mapping[str, tuple[str, bool]] = {
    BEST: ("(SELECT score FROM temp.found WHERE found.id = listed.paper)", False),
    "added": ("paper", True),
    "newest": ("coalesce(year, 0)", True),
    "oldest": ("coalesce(year, 9999)", False),
    "support": ("coalesce(support, 2.0)", False),
    "unsupported": ("coalesce(unsupported, -1)", True),
}
"""For each order, the SQL expression to sort by, and True for descending order."""
_OPEN, _CLOSE = "\x02", "\x03"
"""Marks around matching words: control characters, which texts usually do not contain."""

# This subquery has the columns of the relation "annotations" (see search/engine.py) and the facet
# "state", for all papers, annotated or not. Of merged rows, the annotated row is listed; if no row
# is annotated, the row with the lowest id is listed. INDEXED BY makes the join read an index of
# papers first, since a scan of the long rows of annotations would be slow.
_LISTED = f"""(
    SELECT annotations.id, papers.id AS paper, year, category, categories, cited, retracted, stated,
        support, unsupported, model,
        CASE WHEN annotations.id IS NOT NULL THEN 'annotated'
            WHEN papers.id IN (SELECT paper_id FROM failures) THEN 'failed'
            ELSE 'not annotated' END AS state
    FROM papers INDEXED BY papers_facets LEFT JOIN annotations
        ON annotations.paper_id = papers.id AND current = 1 AND framework = ?1
    WHERE annotations.id IS NOT NULL OR papers.id NOT IN (
        SELECT joined.id FROM {JOINED} AS joined WHERE other < joined.id OR other IN (
            SELECT paper_id FROM annotations WHERE current = 1 AND framework = ?1))) AS listed"""  # noqa: S608  not user input
COLUMNS = {"state": "state", "year": "year", "category": "categories", "model": "model"}
"""The column of each facet; all facets of moves use the column `stated`."""
KEPT = 16
"""Maximum number of cached lists of groups; the oldest lists are removed."""
Group = tuple[Any, ...]
"""Values of the columns in `COLUMNS` and of `stated`, and the number of papers with the values."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of papers.

    Attributes:
        words: the search text. If `by` is "words", the text is the id of a paper, or words that
            must all occur in one move, or all in the title and abstract. Words in double quotes
            must then be adjacent.
        conditions: conditions in the syntax of `/corpus filter`.
        facets: the selected values of each facet: "year", "category", "model", "state" or
            "move.NAME". A paper must have one of the selected values of each facet.
        by: how `words` are searched. "both" and "meaning" select the papers of the best moves
            (see `NEAREST`).
    """

    words: str = ""
    conditions: str = ""
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by: By = "words"


@dataclass(frozen=True, slots=True)
class Listed:
    """A paper in a page.

    Attributes:
        paper: the row of the table `papers`.
        record: the current annotation, or None.
        found: a snippet of title or abstract, split so that every second string is a match; empty
            if the selection has no words, or if title and abstract do not contain all words.
        key: the position of the paper in the order, from which the next or previous page continues.
    """

    row_id: int
    paper: Row
    record: Mapping[str, Any] | None
    found: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of papers.

    Attributes:
        has_previous: True if there are papers before the page.
        has_next: True if there are papers after the page.
    """

    papers: tuple[Listed, ...]
    has_previous: bool
    has_next: bool


class Listing:
    """The papers of a selection, which can be read in pages."""

    def __init__(self, corpus: Database, selection: Selection) -> None:
        """Search for the words of the selection.

        Raises:
            InputError: the search text contains no word, a condition is invalid, or the vectors
                for a search by meaning are not complete yet.
            UsageError: a search by meaning requires an extra that is not installed.
        """
        self.selection, self._db, self._framework = selection, corpus.db, corpus.framework
        conditions = []
        if selection.words.strip():
            conditions.append(Condition("paper IN (SELECT id FROM temp.found)"))
            if selection.by == "words":
                fulltext.find_papers(corpus, selection.words)
            else:
                complete_soon(corpus)
                found = corpus.search(Query(selection.words, limit=NEAREST, by=selection.by))
                # Each paper is ranked by its best move.
                ranked = ((hit.paper_id, float(rank)) for rank, hit in enumerate(found.hits))
                fulltext.keep_found(corpus.db, ranked)
        conditions += filters.parse(selection.conditions, self._framework)
        facets = [
            filters.any_of([filters.facet(name, value) for value in values])
            for name, values in selection.facets.items()
            if values
        ]
        self.matching = corpus.all_of(conditions)
        """The SQL condition of the selection without the facets, and the SQL parameters."""
        self._selected = corpus.all_of([*conditions, *facets])

    def rows(
        self, columns: str, where: tuple[str, Sequence[Any]], more: str, parameters: Sequence[Any]
    ) -> list[Any]:
        condition, of_condition = where
        return self._db.execute(
            f"SELECT {columns} FROM {_LISTED} WHERE {condition} {more}",  # noqa: S608
            [self._framework.name, *of_condition, *parameters],
        ).fetchall()

    def annotation_ids(self) -> list[int]:
        """Return the ids of the current annotations of the selected papers, sorted by paper."""
        rows = self.rows("id", self._selected, "AND id IS NOT NULL ORDER BY paper, id", [])
        return [row["id"] for row in rows]

    def page(self, *, sort: str = "added", after: str = "", before: str = "") -> Page:
        """Return a page of at most `ROWS` papers.

        Args:
            sort: the order; a key of `SORTS`.
            after: the key of the paper before the page; "" for the first page.
            before: the key of the paper after the page, or "".

        Raises:
            InputError: a key or the order is invalid.
        """
        if sort not in SORTS or (sort == BEST and not self.selection.words.strip()):
            hint = f"Orders: {', '.join(SORTS)}."
            raise InputError(f"papers cannot be sorted by {sort[:40]!r}", hint=hint)
        value, is_descending = SORTS[sort]
        backwards = bool(before)
        down = is_descending != backwards
        more, parameters = "", list[Any]()
        if key := before or after:
            more = f"AND ({value}, paper) {'<' if down else '>'} (?, ?) "
            parameters += _parsed(key)
        order = "DESC" if down else "ASC"
        more += f"ORDER BY 3 {order}, paper {order} LIMIT ?"
        columns = f"paper, id, {value}"
        found = self.rows(columns, self._selected, more, [*parameters, ROWS + 1])
        has_more, found = len(found) > ROWS, found[:ROWS]
        if backwards:
            found.reverse()
        return Page(
            tuple(self._listed(*row) for row in found),
            has_previous=has_more if backwards else bool(after),
            has_next=bool(before) if backwards else has_more,
        )

    def _listed(self, row_id: int, annotation_id: int | None, value: Any) -> Listed:
        paper = one(self._db, "SELECT * FROM papers WHERE id = ?", [row_id]) or {}
        made = one(self._db, "SELECT record FROM annotations WHERE id = ?", [annotation_id])
        record = stored_record(made["record"]) if made else None
        return Listed(row_id, paper, record, self._snippet(row_id), json.dumps([value, row_id]))

    def _snippet(self, row_id: int) -> tuple[str, ...]:
        if not self.selection.words.strip():
            return ()
        row = self._db.execute(
            "SELECT snippet(papers_fts, -1, ?, ?, '…', 40) FROM papers_fts"
            " WHERE papers_fts MATCH ? AND rowid = ?",
            [_OPEN, _CLOSE, all_of(tokens(self.selection.words)), row_id],
        ).fetchone()
        return () if row is None else tuple(row[0].replace(_CLOSE, _OPEN).split(_OPEN))


def complete_soon(corpus: Engine) -> None:
    """Compute missing vectors for at most `PATIENCE` seconds.

    Raises:
        InputError: more time is needed; the computed vectors are stored.
        UsageError: the embedding model is not installed.
    """
    try:
        corpus.complete_vectors(lambda status: None, StopToken(seconds=PATIENCE).check)
    except DeadlineExceeded as exc:
        raise InputError(
            "the vectors for a search by meaning are not complete yet",
            hint="Repeat the search; each time, more vectors are computed.",
        ) from exc


def _parsed(key: str) -> tuple[float, int]:
    try:
        value, row_id = json.loads(key)
        return float(value), int(row_id)
    except (ValueError, TypeError) as exc:
        raise InputError(
            "the address of this page is invalid", hint="Go back to the first page."
        ) from exc


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of papers in a listing, and the counts of each facet.

    Attributes:
        total: number of papers.
        facets: for each facet, the number of papers with each value.
    """

    total: int
    facets: Mapping[str, Counter[str]]


class FacetCounts:
    """Counts the papers with each value of a facet, and caches the groups of papers.

    Several threads may use an instance at the same time.

    Args:
        path: the path of the database.
        framework: the framework of the annotations.
    """

    def __init__(self, path: Path, framework: Framework) -> None:
        self._path, self._framework = path, framework
        self._kept: dict[Any, list[Group]] = {}
        self._lock = Lock()

    def of(self, listing: Listing) -> Counts:
        """Return the number of papers in a listing, and the counts of each facet."""
        facets = listing.selection.facets
        wanted = {name: frozenset(values) for name, values in facets.items() if values}
        moves = [MOVE + name for name in self._framework.names]
        place = {name: number for number, name in enumerate(COLUMNS)}
        place.update(dict.fromkeys(moves, len(COLUMNS)))
        everywhere: list[Counter[Any]] = [Counter() for _ in range(len(COLUMNS) + 1)]
        besides: dict[str, Counter[Any]] = {name: Counter() for name in wanted}
        for *values, number in self._groups(listing):
            missed = [
                name
                for name, among in wanted.items()
                if among.isdisjoint(_values(name, values[place[name]]))
            ]
            if not missed:
                for counter, value in zip(everywhere, values, strict=True):
                    counter[value] += number
            elif len(missed) == 1:  # only this facet excludes the papers
                besides[missed[0]][values[place[missed[0]]]] += number
        counts = {
            name: _expanded(name, everywhere[place[name]] + besides.get(name, Counter()))
            for name in place
        }
        return Counts(everywhere[0].total(), counts)

    def _groups(self, listing: Listing) -> list[Group]:
        where, parameters = listing.matching
        selection = listing.selection
        key = selection.words, selection.by, where, tuple(parameters), stamp(self._path)
        if groups := self._kept.get(key):
            return groups
        columns = ", ".join((*COLUMNS.values(), "stated", "count(*)"))
        rows = listing.rows(columns, listing.matching, "GROUP BY 1, 2, 3, 4, 5", [])
        groups = [tuple(row) for row in rows]
        with self._lock:
            self._kept[key] = groups
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return groups


def stamp(path: Path) -> tuple[Any, ...]:
    """Return times and sizes of a database and its WAL, which change with every transaction.

    An empty WAL counts as absent, since connections that only read also create and remove a WAL.
    """
    found = list[tuple[int, int] | None]()
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            stat = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size) if stat.st_size else None)
    return tuple(found)


@lru_cache(maxsize=65_536)
def _values(name: str, column: Any) -> tuple[str, ...]:
    """Return the values that a paper has for a facet, from the value of the facet's column."""
    if name == "year":
        return (UNKNOWN if column is None else str(column),)
    if name == "category":
        return tuple(dict.fromkeys(categories(column))) or (UNKNOWN,)
    if column is None:  # a paper without an annotation
        return ()
    if name.startswith(MOVE):
        is_stated = name.removeprefix(MOVE) in column.split()
        return (STATED if is_stated else UNSTATED,)
    return (column,)


def _expanded(name: str, columns: Counter[Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for column, number in columns.items():
        for value in _values(name, column):
            counts[value] += number
    return counts
