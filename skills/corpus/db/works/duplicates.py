"""Report what was merged or linked, and split it again."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from skills.corpus.db.rows import Row, insert, now
from skills.corpus.db.works import groups


@dataclass(frozen=True, slots=True)
class Side:
    """One row of papers in a pair."""

    row: int
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of papers and what was decided about them.

    Attributes:
        relation: "same" if they were merged, "linked" for preprint and published version, "split"
            if the user has undone one of these.
        rule: what agrees: an identifier, or the title with what else.
        evidence: the common value.
    """

    paper: Side
    other: Side
    relation: str
    rule: str
    evidence: str


def pairs(db: sqlite3.Connection, paper_id: int | None = None) -> list[Pair]:
    """Return the decided pairs, all or those of one row."""
    rows = db.execute(
        "SELECT paper_id, one.source_id AS one_id, one.title AS one_title,"
        " other_id, other.source_id AS other_source_id, other.title AS other_title,"
        " relation, rule, evidence FROM duplicates"
        " JOIN papers AS one ON one.id = paper_id JOIN papers AS other ON other.id = other_id"
        " WHERE :paper IS NULL OR :paper IN (paper_id, other_id) ORDER BY paper_id, other_id",
        {"paper": paper_id},
    )
    return [_pair(row) for row in rows]


def split(db: sqlite3.Connection, paper_id: int) -> list[Pair]:
    """Undo the merges and links of one row of papers, and remember it.

    The annotations of all rows are kept. Where a paper is left without a current one, its newest
    becomes current. The caller runs it in a transaction.

    Returns:
        The pairs that were undone, as they were.
    """
    undone = [pair for pair in pairs(db, paper_id) if pair.relation != "split"]
    others = [other for other in groups.members(db, paper_id) if other != paper_id]
    db.execute(
        "UPDATE duplicates SET relation = 'split' WHERE ? IN (paper_id, other_id)", [paper_id]
    )
    known = {row for pair in undone for row in (pair.paper.row, pair.other.row)}
    for other in others:
        if other not in known:  # joined through a third
            first, second = sorted((paper_id, other))
            insert(
                db,
                "duplicates",
                paper_id=first,
                other_id=second,
                relation="split",
                rule="",
                evidence="",
                created_at=now(),
            )
    for row in (paper_id, *others):
        groups.restore(db, groups.members(db, row))
    return undone


def with_annotated(db: sqlite3.Connection, paper_ids: list[int]) -> list[int]:
    """Return the rows of these papers that have the current annotations.

    Without one, it is the first of the given rows. Of an id with several abstracts, such as the
    versions of a paper at arXiv, all given rows are returned.
    """
    shown: dict[int, None] = {}
    for paper_id in paper_ids:
        group = groups.members(db, paper_id)
        annotated = sorted({row["paper_id"] for row in groups.current(db, group)})
        chosen = annotated or [row for row in paper_ids if row in group][:1]
        if _source_id(db, paper_id) in {_source_id(db, row) for row in chosen}:
            shown[paper_id] = None
        shown |= dict.fromkeys(chosen)
    return list(shown)


def shown_for(db: sqlite3.Connection, paper_id: int) -> int:
    """Return the row that represents a paper: with the newest annotation, else the first."""
    group = groups.members(db, paper_id)
    annotated = groups.current(db, group)
    return int(annotated[0]["paper_id"]) if annotated else group[0]


def _source_id(db: sqlite3.Connection, paper_id: int) -> str:
    row = db.execute("SELECT source_id FROM papers WHERE id = ?", [paper_id]).fetchone()
    return str(row["source_id"])


def _pair(row: Row) -> Pair:
    return Pair(
        Side(row["paper_id"], row["one_id"], row["one_title"]),
        Side(row["other_id"], row["other_source_id"], row["other_title"]),
        row["relation"],
        row["rule"],
        row["evidence"],
    )
