"""List papers of a corpus database by words, conditions and facets, in pages, with counts.

Unlike `/corpus filter`, this also lists papers without an annotation. Of rows of the same paper,
one row is listed. The values of a facet are counted over the papers that all other facets select,
so that they remain available. A single query groups the papers; the groups are kept until the
database changes.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
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
from skills.corpus.db.rows import Row, stored_record
from skills.corpus.search import filters, fulltext
from skills.corpus.search.engine import Engine
from skills.corpus.search.filters import Condition
from skills.corpus.search.query_syntax import By, Query, all_of, tokens
from skills.nanda.framework import Framework

WAYS: tuple[By, ...] = ("words", "both", "meaning")
NEAREST = 200
"""Number of moves that are found by meaning."""
PATIENCE = 3.0
"""Maximum number of seconds in which vectors are added before a search."""
ROWS = 50
BEST = "best"
"""The order of a search: by bm25 of title and abstract, then papers found only by a move."""
SORTS: Mapping[str, tuple[str, bool]] = {
    BEST: ("(SELECT score FROM temp.found WHERE found.id = listed.paper)", False),
    "added": ("paper", True),
    "newest": ("coalesce(year, 0)", True),
    "oldest": ("coalesce(year, 9999)", False),
    "support": ("coalesce(support, 2.0)", False),
    "unsupported": ("coalesce(unsupported, -1)", True),
}
"""For each order, the value by which papers are sorted, and True if the greatest is first."""
_OPEN, _CLOSE = "\x02", "\x03"
"""The marks around words that were found; stored texts do not contain these characters."""

# The relation "annotations" of an engine, with all other papers, and the facet "state". It accesses
# annotations from papers by an index, since their rows are long. A merged row without annotation is
# left out if another row of the paper has the annotation or precedes it.
_LISTED = """(
    SELECT annotations.id, papers.id AS paper, year, category, categories, cited, retracted, stated,
        support, unsupported, model,
        CASE WHEN annotations.id IS NOT NULL THEN 'annotated'
            WHEN papers.id IN (SELECT paper_id FROM failures) THEN 'failed'
            ELSE 'not annotated' END AS state
    FROM papers INDEXED BY papers_facets LEFT JOIN annotations
        ON annotations.paper_id = papers.id AND current = 1 AND framework = ?
    WHERE annotations.id IS NOT NULL OR papers.id NOT IN (
        SELECT max(paper_id, other_id) FROM duplicates WHERE relation = 'same'
        UNION SELECT duplicates.paper_id FROM duplicates JOIN annotations AS others
            ON others.paper_id = other_id AND others.current = 1 WHERE relation = 'same'
        UNION SELECT other_id FROM duplicates JOIN annotations AS others
            ON others.paper_id = duplicates.paper_id AND others.current = 1
            WHERE relation = 'same')) AS listed"""
COLUMNS = {"state": "state", "year": "year", "category": "categories", "model": "model"}
"""The column of each facet; the facets of moves share the column `stated`."""
KEPT = 16
"""Number of groupings that are kept."""
Group = tuple[Any, ...]
"""Values of `COLUMNS`, the stated moves, and the number of papers with these values."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of papers.

    Attributes:
        words: words that all occur in title and abstract, or in one move; words of a "phrase" are
            adjacent. A paper with this id is also listed.
        by: the kind of search; "both" and "meaning" find the nearest moves, like `/corpus search`.
        conditions: conditions in the form of `/corpus filter`.
        facets: the selected values by facet: "year", "category", "model", "state" and "move.NAME".
            A paper must have a selected value of each facet.
    """

    words: str = ""
    conditions: str = ""
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by: By = "words"


@dataclass(frozen=True, slots=True)
class Listed:
    """A paper of a page.

    Attributes:
        record: the current annotation, or None.
        found: a piece of title or abstract in parts, in which every second part was found.
        key: the key of the paper in the order, by which the previous or next page is found.
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
        has_previous, has_next: True if there are papers before, or after, these papers.
    """

    papers: tuple[Listed, ...]
    has_previous: bool
    has_next: bool


class Listing:
    """The papers of a selection."""

    def __init__(self, corpus: Database, selection: Selection) -> None:
        """Find the words of the selection.

        Raises:
            InputError: `words` has no words, or a condition is not valid.
        """
        self.selection, self._db, self._framework = selection, corpus.db, corpus.framework
        conditions = []
        if selection.words.strip():
            conditions.append(Condition("paper IN (SELECT id FROM temp.found)"))
            if selection.by == "words":
                fulltext.find_papers(corpus, selection.words)
            else:
                _find_near(corpus, selection)
        if selection.conditions.strip():
            conditions += filters.parse(selection.conditions, self._framework)
        facets = [
            filters.any_of([filters.facet(name, value, self._framework) for value in values])
            for name, values in selection.facets.items()
            if values
        ]
        self.matching = corpus.all_of(conditions)
        """The SQL condition without the facets, and its parameters."""
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
        """Return the ids of the current annotations, in the order of their papers."""
        rows = self.rows("id", self._selected, "AND id IS NOT NULL ORDER BY paper, id", [])
        return [row["id"] for row in rows]

    def page(
        self, *, sort: str = "added", after: str = "", before: str = "", rows: int = ROWS
    ) -> Page:
        """Return the first page of papers, or the page after or before a key.

        Raises:
            InputError: a key or order is not valid.
        """
        if sort not in SORTS or (sort == BEST and not self.selection.words.strip()):
            hint = f"There are {', '.join(SORTS)}."
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
        found = self.rows(columns, self._selected, more, [*parameters, rows + 1])
        has_more, found = len(found) > rows, found[:rows]
        if backwards:
            found.reverse()
        return Page(
            tuple(self._listed(found)),
            has_previous=has_more if backwards else bool(after),
            has_next=bool(before) if backwards else has_more,
        )

    def _listed(self, found: Sequence[Sequence[Any]]) -> list[Listed]:
        papers = self._by_id("papers", "*", [row[0] for row in found])
        annotations = self._by_id("annotations", "id, record", [row[1] for row in found])
        return [
            Listed(
                row_id,
                papers[row_id],
                stored_record(annotations[annotation]["record"]) if annotation else None,
                self._snippet(row_id),
                json.dumps([value, row_id]),
            )
            for row_id, annotation, value in found
        ]

    def _by_id(self, table: str, columns: str, ids: Sequence[int | None]) -> dict[int, Row]:
        among = "id IN (SELECT value FROM json_each(?))"
        sql = f"SELECT {columns} FROM {table} WHERE {among}"  # noqa: S608
        return {row["id"]: row for row in self._db.execute(sql, [json.dumps(ids)])}

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
    """Add missing vectors, for at most `PATIENCE` seconds.

    Raises:
        InputError: it takes longer; the added vectors are stored.
    """
    try:
        corpus.complete_vectors(lambda status: None, StopToken(seconds=PATIENCE).check)
    except DeadlineExceeded as exc:
        raise InputError(
            "the vectors of moves, by which meaning is searched, are not complete",
            hint="Repeat this; each time, more are added.",
        ) from exc


def _find_near(corpus: Database, selection: Selection) -> None:
    """Find the papers with the nearest moves, ranked by the best move of each paper."""
    complete_soon(corpus)
    found = corpus.search(Query(selection.words, limit=NEAREST, by=selection.by))
    ranked = ((hit.paper_id, float(rank)) for rank, hit in enumerate(found.hits))
    fulltext.keep_found(corpus.db, ranked)


def _parsed(key: str) -> tuple[float, int]:
    try:
        value, row_id = json.loads(key)
        return float(value), int(row_id)
    except (ValueError, TypeError) as exc:
        raise InputError("the address of this page is not valid", hint="Start again.") from exc


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of listed papers, and the numbers of papers with each value of each facet.

    Attributes:
        facets: the counts by facet, `COLUMNS` and then "move.NAME", and by value.
    """

    total: int
    facets: Mapping[str, Counter[str]]


class FacetCounts:
    """Counts the facets of the database at `path`; several threads may use it."""

    def __init__(self, path: Path, framework: Framework) -> None:
        self._path, self._framework = path, framework
        self._kept: OrderedDict[Any, list[Group]] = OrderedDict()
        self._lock = Lock()

    def of(self, listing: Listing) -> Counts:
        """Count the papers of a listing."""
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
            elif len(missed) == 1:  # papers that only this facet leaves out
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
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        columns = ", ".join((*COLUMNS.values(), "stated", "count(*)"))
        rows = listing.rows(columns, listing.matching, "GROUP BY 1, 2, 3, 4, 5", [])
        groups = [tuple(row) for row in rows]
        with self._lock:
            self._kept[key] = groups
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return groups


def stamp(path: Path) -> tuple[Any, ...]:
    """Return the state of the file and of its WAL; every transaction changes the state.

    A connection that only reads creates an empty WAL, and removes it at the end.
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
    """Return the values of a facet for a paper, from the value of its column."""
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
