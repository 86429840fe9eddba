"""Merge rows of the same paper, and link preprints to published versions.

A row of the table `papers` is one abstract as one source states it, so that a paper may have
several rows. The rows of a paper share one current annotation for each framework, usually the
latest annotation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from skills.corpus.db.rows import members, now, one, set_current
from skills.corpus.identity.identifiers import KINDS, Known
from skills.corpus.identity.matching import Decision, compare, contradict

JOINED = """(
    WITH RECURSIVE pair(id, other) AS (
        SELECT paper_id, other_id FROM duplicates WHERE relation = 'same'
        UNION ALL SELECT other_id, paper_id FROM duplicates WHERE relation = 'same'
    ), joined(id, other) AS (
        SELECT id, other FROM pair
        UNION SELECT joined.id, pair.other FROM joined JOIN pair ON pair.id = joined.other
    )
    SELECT id, other FROM joined)"""
"""SQL for the pairs of merged rows, including pairs that are merged only through a third row.

Each pair occurs in both orders, and each merged row is also paired with itself.
"""


def join(db: sqlite3.Connection, paper_id: int, candidates: Iterable[int]) -> None:
    """Compare a row with other rows, and record the rows of the same paper."""
    own = _known(db, paper_id)
    decided = [
        (other, decision) for other in candidates if (decision := compare(own, _known(db, other)))
    ]
    # Decisions by identifiers come first, since identifiers merge rows that titles alone would only
    # link. Links by titles come next, before merges by titles, since a record without identifiers
    # must not cause a merge of rows that should only be linked.
    decided.sort(key=lambda pair: (pair[1].rule not in KINDS, pair[1].relation == "same", pair[0]))
    for other, decision in decided:
        _decide(db, paper_id, other, decision)


def _decide(db: sqlite3.Connection, paper_id: int, other_id: int, decision: Decision) -> None:
    """Record a decision about two rows, unless an earlier decision takes precedence.

    Rows that must not be merged (see `_may_merge`) are linked.
    """
    first, second = sorted((paper_id, other_id))
    sql = "SELECT relation FROM duplicates WHERE paper_id = ? AND other_id = ?"
    before = one(db, sql, [first, second])
    by_identifier = decision.rule in KINDS
    if before is not None and not (before["relation"] == "linked" and by_identifier):
        return
    relation = decision.relation
    if relation == "same" and not _may_merge(db, paper_id, other_id, by_identifier=by_identifier):
        relation = "linked"
    db.execute(
        "INSERT OR REPLACE INTO duplicates"
        " (paper_id, other_id, relation, rule, evidence, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        [first, second, relation, decision.rule, decision.evidence, now()],
    )
    if relation == "same":
        settle(db, members(db, paper_id))


def _may_merge(db: sqlite3.Connection, one_id: int, other_id: int, *, by_identifier: bool) -> bool:
    """Return True unless a merge would join two rows that must stay separate.

    Rows that the user has split stay separate. In a merge by title, linked rows and rows with
    contradicting identifiers stay separate too. Otherwise, a row without identifiers could join a
    preprint with its published version, or two reports with different DOIs.

    Args:
        by_identifier: True for a merge by a common identifier, False for a merge by title.
    """
    ours, theirs = members(db, one_id), members(db, other_id)
    apart = {"split"} if by_identifier else {"split", "linked"}
    relations = db.execute(
        "SELECT relation FROM duplicates, json_each(:ours) AS own, json_each(:theirs) AS other"
        " WHERE paper_id = min(own.value, other.value) AND other_id = max(own.value, other.value)",
        {"ours": json.dumps(ours), "theirs": json.dumps(theirs)},
    ).fetchall()
    if not apart.isdisjoint(row["relation"] for row in relations):
        return False
    if by_identifier:
        return True
    known_here = [_known(db, own) for own in ours]
    known_there = [_known(db, other) for other in theirs]
    return not any(contradict(own, other) for own in known_here for other in known_there)


def _known(db: sqlite3.Connection, paper_id: int) -> Known:
    row = one(db, "SELECT title, authors, year, venue FROM papers WHERE id = ?", [paper_id]) or {}
    ids = identifiers_of(db, paper_id)
    return Known(ids, row["title"], row["authors"], row["year"], row["venue"])


def count_merged(db: sqlite3.Connection) -> int:
    """Return the number of merged rows, without the first row of each merged paper."""
    [(above,)] = db.execute(
        "SELECT count(*) - count(DISTINCT first)"  # noqa: S608  not user input
        f" FROM (SELECT min(other) AS first FROM {JOINED} GROUP BY id)"
    )
    return int(above)


def settle(db: sqlite3.Connection, paper_ids: Iterable[int]) -> None:
    """Make one annotation of each framework current, and all other annotations not current.

    The latest current annotation of a framework remains current. If no annotation of a framework is
    current, the latest annotation of the framework becomes current.

    Args:
        paper_ids: the ids of all rows of a paper.
    """
    rows = db.execute(
        "SELECT id, framework, current FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?))"
        " ORDER BY current DESC, created_at DESC, id DESC",
        [json.dumps(list(paper_ids))],
    )
    settled: set[str] = set()
    for row in rows.fetchall():
        is_current = row["framework"] not in settled
        if row["current"] != is_current:
            set_current(db, row["id"], is_current)
        settled.add(row["framework"])


def separate(db: sqlite3.Connection, paper_id: int) -> None:
    """Undo the merges and links of a row, and record the pairs of rows as split.

    If a paper is left without a current annotation, its latest annotation becomes current. The
    caller must provide the transaction.
    """
    others = [other for other in members(db, paper_id) if other != paper_id]
    db.execute(
        "UPDATE duplicates SET relation = 'split' WHERE ? IN (paper_id, other_id)", [paper_id]
    )
    # `duplicates` does not yet contain pairs of rows that were merged only through a third row.
    db.executemany(
        "INSERT OR IGNORE INTO duplicates"
        " (paper_id, other_id, relation, rule, evidence, created_at)"
        " VALUES (?, ?, 'split', '', '', ?)",
        [(*sorted((paper_id, other)), now()) for other in others],
    )
    for row in (paper_id, *others):
        settle(db, members(db, row))


def rows_with_identifiers(db: sqlite3.Connection, by_kind: Mapping[str, str]) -> list[int]:
    """Return the ids of the rows that have at least one of the identifiers `by_kind`."""
    sql = "SELECT paper_id FROM identifiers WHERE kind = ? AND value = ? ORDER BY paper_id"
    rows = (row["paper_id"] for pair in by_kind.items() for row in db.execute(sql, pair))
    return list(dict.fromkeys(rows))


def identifiers_of(db: sqlite3.Connection, paper_id: int) -> dict[str, str]:
    """Return the identifiers of a row by kind, in the order of `KINDS`."""
    rows = db.execute(
        "SELECT kind, value FROM identifiers WHERE paper_id = ? AND kind != 'title' ORDER BY id",
        [paper_id],
    ).fetchall()
    found = {row["kind"]: row["value"] for row in rows}
    return {kind: found[kind] for kind in KINDS if kind in found}
