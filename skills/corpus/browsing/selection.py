"""Which papers are listed: words, conditions and facets, as SQL.

Unlike `/corpus filter`, this lists papers without an annotation, too. Of rows that are one paper,
one is listed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import DeadlineExceeded, InputError
from harness.support.stop_token import StopToken
from skills.corpus.corpus_store import Database, Storage
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
