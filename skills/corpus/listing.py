"""Which papers are listed: words, conditions and facets, as SQL.

Unlike `/corpus filter`, this lists papers without an annotation, too. Of rows that are one paper,
one is listed.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from harness.errors import DeadlineExceeded, InputError
from harness.support.stop_token import StopToken
from skills.corpus.corpus_store import Database, Storage
from skills.corpus.db.facets import categories
from skills.corpus.db.rows import Row, stored_record
from skills.corpus.search import filters
from skills.corpus.search.query_syntax import By, Query, all_of, tokens
from skills.nanda.framework import Framework

UNKNOWN = "unknown"
ANNOTATED, FAILED, MISSING = "annotated", "failed", "not annotated"
STATED, UNSTATED = "stated", "not stated"
WAYS: tuple[By, ...] = ("words", "both", "meaning")
COMMON = 20_000
"""Words in the title or abstract of more papers than these are not looked for in moves, and the
papers added last come first: each takes some microseconds."""
NEAREST = 200
"""Moves that are found by meaning."""
PATIENCE = 3.0
"""Seconds in which vectors are added before a search."""
MOVE = "move."
"""Begins the names of the facets of moves."""

STATE = (
    "CASE WHEN annotations.id IS NOT NULL THEN 'annotated'"
    " WHEN papers.id IN (SELECT paper_id FROM failures) THEN 'failed' ELSE 'not annotated' END"
)
# From papers to annotations, each by an index: their rows are long. A merged row without the
# annotation is left out if another one has it, or comes before.
_FROM = (
    " FROM papers INDEXED BY papers_facets LEFT JOIN annotations"
    " ON annotations.paper_id = papers.id AND current = 1 AND framework = ?"
    " WHERE (annotations.id IS NOT NULL OR papers.id NOT IN ("
    "   SELECT max(paper_id, other_id) FROM duplicates WHERE relation = 'same'"
    "   UNION SELECT duplicates.paper_id FROM duplicates JOIN annotations AS others"
    "     ON others.paper_id = other_id AND others.current = 1 WHERE relation = 'same'"
    "   UNION SELECT other_id FROM duplicates JOIN annotations AS others"
    "     ON others.paper_id = duplicates.paper_id AND others.current = 1"
    "     WHERE relation = 'same'))"
)
_FOUND = " AND papers.id IN (SELECT id FROM temp.found)"
SCORE = "(SELECT score FROM temp.found WHERE found.id = papers.id)"
"""The rank of a paper for the words searched for, the best ones lowest."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is listed.

    Attributes:
        words: all must occur in title and abstract, or in one move; "phrases" are adjacent. A paper
            with this id is listed, too.
        by: "both" and "meaning" find the nearest moves instead, as `/corpus search` does.
        conditions: as `/corpus filter` takes them.
        facets: values by name: "year", "category", "model", "state" and "move.NAME". A paper must
            have one of the values of each.
    """

    words: str = ""
    conditions: str = ""
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by: By = "words"


@dataclass(frozen=True, slots=True)
class Clause:
    """SQL from FROM on, with its parameters."""

    sql: str
    parameters: tuple[Any, ...]

    def __add__(self, other: Clause) -> Clause:
        return Clause(self.sql + other.sql, self.parameters + other.parameters)


def annotation_ids(db: sqlite3.Connection, selection: Selection, framework: Framework) -> list[int]:
    """Return the ids of the current annotations that are listed, in the order of their papers.

    Raises:
        InputError: `words` has no words, or a condition is not valid.
    """
    prepare(db, selection, framework)
    clause = selected(selection, framework)
    rows = db.execute(
        f"SELECT annotations.id {clause.sql} AND annotations.id IS NOT NULL"
        " ORDER BY papers.id, annotations.id",
        clause.parameters,
    )
    return [row["id"] for row in rows]


def prepare(db: sqlite3.Connection, selection: Selection, framework: Framework) -> None:
    """Find the words of a selection, for the other functions, which may then use `db`.

    Raises:
        InputError: `words` has no words.
    """
    filters.create_functions(db)
    if not selection.words.strip():
        return
    db.execute("CREATE TEMP TABLE IF NOT EXISTS found (id INTEGER PRIMARY KEY, score REAL)")
    db.execute("DELETE FROM temp.found")
    if selection.by != "words":
        _find_near(db, selection, framework)
        return
    match = match_of(selection.words)
    db.execute(
        "INSERT INTO temp.found SELECT id, -1e9 FROM papers WHERE source_id = ?",
        [selection.words.strip()],
    )
    in_papers = "FROM papers_fts WHERE papers_fts MATCH ?"
    sql = f"SELECT count(*) {in_papers}"
    if db.execute(sql, [match]).fetchone()[0] > COMMON:
        db.execute(f"INSERT OR IGNORE INTO temp.found SELECT rowid, -rowid {in_papers}", [match])
        return
    db.execute(
        f"INSERT OR IGNORE INTO temp.found SELECT rowid, bm25(papers_fts) {in_papers}",
        [match],
    )
    db.execute(
        "INSERT OR IGNORE INTO temp.found SELECT moves.paper_id, 1.0 FROM moves_fts"
        " CROSS JOIN moves ON moves.id = moves_fts.rowid"
        " WHERE moves_fts MATCH ? AND moves.framework = ? AND moves.current = 1",
        [f"text : ({match})", framework.name],
    )


def _find_near(db: sqlite3.Connection, selection: Selection, framework: Framework) -> None:
    """Find the papers of the nearest moves, ranked by the best move of each."""
    corpus = Database(db, framework)
    complete_soon(corpus)
    found = corpus.search(Query(selection.words, limit=NEAREST, by=selection.by))
    db.executemany(
        "INSERT OR IGNORE INTO temp.found VALUES (?, ?)",
        [(hit.paper_id, float(rank)) for rank, hit in enumerate(found.hits)],
    )


def complete_soon(corpus: Storage) -> None:
    """Add the vectors that are missing, within the time that a reader waits.

    Raises:
        InputError: it takes longer; what is added stays.
    """
    try:
        corpus.complete_vectors(lambda status: None, StopToken(seconds=PATIENCE).check)
    except DeadlineExceeded as exc:
        raise InputError(
            "the vectors of moves, by which meaning is searched, are not complete",
            hint="Repeat this; each time, more are added.",
        ) from exc


def matching(selection: Selection, framework: Framework) -> Clause:
    """Return the papers that have the words and meet the conditions; facets are left out.

    Raises:
        InputError: a condition is not valid.
    """
    clause = Clause(_FROM, (framework.name,))
    if selection.words.strip():
        clause += Clause(_FOUND, ())
    if selection.conditions.strip():
        parsed = filters.parse(selection.conditions, framework)
        sql, parameters = filters.conjunction(parsed, framework)
        clause += Clause(sql, tuple(parameters))
    return clause


def selected(selection: Selection, framework: Framework) -> Clause:
    """Return the papers of a selection, as `matching` with its facets."""
    clause = matching(selection, framework)
    for name, values in selection.facets.items():
        if values:
            each = [_has(name, value, framework) for value in values]
            either = " OR ".join(one.sql for one in each)
            parameters = tuple(p for one in each for p in one.parameters)
            clause += Clause(f" AND ({either})", parameters)
    return clause


def match_of(words: str) -> str:
    """Return the full-text expression for all words and phrases.

    Raises:
        InputError: there are none.
    """
    return all_of(tokens(words))


def _has(name: str, value: str, framework: Framework) -> Clause:
    """Return the condition that a paper has this value of a facet."""
    if name == "year":
        return Clause("year IS NULL", ()) if value == UNKNOWN else Clause("year = ?", (value,))
    if name == "category":
        if value == UNKNOWN:
            return Clause("category = ''", ())
        return Clause("has_category(categories, ?)", (value.casefold(),))
    if name == "model":
        return Clause("model = ?", (value,))
    if name == "state":
        return Clause(f"{STATE} = ?", (value,))
    move = name.removeprefix(MOVE)
    if move == name or move not in framework.names:
        raise InputError(f"there is no facet {name[:40]!r}", hint="Follow a link of the page.")
    found = "=" if value == UNSTATED else ">"
    return Clause(f"instr(' ' || stated || ' ', ?) {found} 0", (f" {move} ",))


ROWS = 50
BEST = "best"
"""The order of a search: by bm25 of title and abstract, then those found by a move alone."""
SORTS: Mapping[str, tuple[str, bool]] = {
    BEST: (SCORE, False),
    "added": ("papers.id", True),
    "newest": ("coalesce(year, 0)", True),
    "oldest": ("coalesce(year, 9999)", False),
    "support": ("coalesce(support, 2.0)", False),
    "unsupported": ("coalesce(unsupported, -1)", True),
}
"""The value that papers are sorted by, before their number, and whether the greatest is first."""
_OPEN, _CLOSE = "\x02", "\x03"
"""Around the words found: no stored text has them."""
_PAPERS = "SELECT * FROM papers WHERE id IN (SELECT value FROM json_each(?))"
_RECORDS = "SELECT id, record FROM annotations WHERE id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Listed:
    """A paper of a page.

    Attributes:
        record: its current annotation, or None.
        found: a piece of title or abstract in parts; every second one was searched for.
        key: its place in the order, for `Page` before or after it.
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
        has_previous, has_next: whether there are papers before and after these.
    """

    papers: tuple[Listed, ...]
    has_previous: bool
    has_next: bool


def page(
    db: sqlite3.Connection,
    selection: Selection,
    framework: Framework,
    *,
    sort: str = "added",
    after: str = "",
    before: str = "",
    rows: int = ROWS,
) -> Page:
    """Return the first papers of a prepared selection, or those after or before a key.

    Raises:
        InputError: a key, condition or order is not valid.
    """
    if sort not in SORTS or (sort == BEST and not selection.words.strip()):
        raise InputError(f"papers cannot be sorted by {sort[:40]!r}", hint=_one_of(SORTS))
    clause = selected(selection, framework)
    value, is_descending = SORTS[sort]
    backwards = bool(before)
    limited = clause
    if key := before or after:
        sign = "<" if is_descending != backwards else ">"
        limited += Clause(f" AND ({value}, papers.id) {sign} (?, ?)", _parsed(key))
    way = "DESC" if is_descending != backwards else "ASC"
    found = db.execute(
        f"SELECT papers.id, annotations.id, {value} {limited.sql}"
        f" ORDER BY 3 {way}, papers.id {way} LIMIT ?",
        [*limited.parameters, rows + 1],
    ).fetchall()
    more, found = len(found) > rows, found[:rows]
    if backwards:
        found.reverse()
    listed = _listed(db, found, selection.words)
    return Page(
        tuple(listed),
        has_previous=more if backwards else bool(after),
        has_next=bool(before) if backwards else more,
    )


def _listed(db: sqlite3.Connection, found: Sequence[Sequence[Any]], words: str) -> list[Listed]:
    papers = _rows(db, _PAPERS, [row[0] for row in found])
    annotations = _rows(db, _RECORDS, [r[1] for r in found])
    snippets = _snippets(db, [row[0] for row in found], words)
    return [
        Listed(
            row_id,
            papers[row_id],
            stored_record(annotations[annotation]["record"]) if annotation else None,
            snippets.get(row_id, ()),
            json.dumps([value, row_id]),
        )
        for row_id, annotation, value in found
    ]


def _rows(db: sqlite3.Connection, query: str, ids: Sequence[int | None]) -> dict[int, Row]:
    rows = db.execute(query, [json.dumps(ids)])
    return {row["id"]: row for row in rows}


def _snippets(db: sqlite3.Connection, ids: Sequence[int], words: str) -> dict[int, tuple[str, ...]]:
    if not words.strip():
        return {}
    found = {}
    for row_id in ids:
        row = db.execute(
            "SELECT snippet(papers_fts, -1, ?, ?, '…', 40) FROM papers_fts"
            " WHERE papers_fts MATCH ? AND rowid = ?",
            [_OPEN, _CLOSE, match_of(words), row_id],
        ).fetchone()
        if row is not None:
            found[row_id] = tuple(row[0].replace(_CLOSE, _OPEN).split(_OPEN))
    return found


def _parsed(key: str) -> tuple[float | int, int]:
    try:
        value, row_id = json.loads(key)
        return float(value), int(row_id)
    except (ValueError, TypeError) as exc:
        raise InputError("the address of this page is not valid", hint="Start again.") from exc


def _one_of(names: Mapping[str, Any]) -> str:
    return f"There are {', '.join(names)}."


COLUMNS = {"state": STATE, "year": "year", "category": "categories", "model": "model"}
"""The column of each facet; the facets of moves share `stated`."""
KEPT = 16
"""Groupings that are kept."""

Group = tuple[Any, ...]
"""A value of each of `COLUMNS`, the stated moves, and the number of papers."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many papers are listed, and have each value of each facet.

    Attributes:
        facets: by facet: `COLUMNS`, then "move.NAME".
    """

    total: int
    facets: Mapping[str, Counter[str]]


class FacetCounts:
    """Counts of facets in the database at `path`, for several threads."""

    def __init__(self, path: Path, framework: Framework) -> None:
        self._path, self._framework = path, framework
        self._kept: OrderedDict[Any, list[Group]] = OrderedDict()
        self._lock = Lock()

    def of(self, db: sqlite3.Connection, selection: Selection) -> Counts:
        """Count the papers of a prepared selection."""
        wanted = {name: frozenset(values) for name, values in selection.facets.items() if values}
        moves = [MOVE + name for name in self._framework.names]
        place = {name: number for number, name in enumerate(COLUMNS)}
        place.update(dict.fromkeys(moves, len(COLUMNS)))
        everywhere: list[Counter[Any]] = [Counter() for _ in range(len(COLUMNS) + 1)]
        besides: dict[str, Counter[Any]] = {name: Counter() for name in wanted}
        for *values, number in self._groups(db, selection):
            missed = [
                name
                for name, among in wanted.items()
                if among.isdisjoint(_values(name, values[place[name]]))
            ]
            if not missed:
                for counter, value in zip(everywhere, values, strict=True):
                    counter[value] += number
            elif len(missed) == 1:  # papers that this facet alone leaves out
                besides[missed[0]][values[place[missed[0]]]] += number
        counts = {
            name: _expanded(name, everywhere[place[name]] + besides.get(name, Counter()))
            for name in place
        }
        return Counts(everywhere[0].total(), counts)

    def _groups(self, db: sqlite3.Connection, selection: Selection) -> list[Group]:
        clause = matching(selection, self._framework)
        key = selection.words, selection.by, clause, _stamp(self._path)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        columns = ", ".join(COLUMNS.values())
        rows = db.execute(
            f"SELECT {columns}, stated, count(*) {clause.sql} GROUP BY 1, 2, 3, 4, 5",
            clause.parameters,
        )
        groups = [tuple(row) for row in rows]
        with self._lock:
            self._kept[key] = groups
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return groups


def _stamp(path: Path) -> tuple[Any, ...]:
    """Return what changes with every transaction: the state of the file and of its WAL.

    A connection that only reads makes an empty WAL, and removes it at the end.
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
    """Return the values of a facet that a paper with this column has."""
    if name == "year":
        return (UNKNOWN if column is None else str(column),)
    if name == "category":
        return tuple(dict.fromkeys(categories(column))) or (UNKNOWN,)
    if column is None:  # without an annotation
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
