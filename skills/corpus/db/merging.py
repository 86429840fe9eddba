"""Merge rows of papers that are one paper, link preprints to published versions, and undo it.

A row of papers is an abstract as one source has it. The rows of one paper have one current
annotation of each framework, the newest.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from skills.corpus.db.rows import Row, insert, now, one, update
from skills.corpus.identity.identifiers import KINDS, ZOTERO
from skills.corpus.identity.matching import BLOCK, Decision, Known, compare, contradict, known
from skills.corpus.outputs import Pair, Side
from skills.nanda.paper import Paper


def record(db: sqlite3.Connection, paper_id: int, paper: Paper, *, changed: bool = True) -> None:
    """Store the identifiers of a row of papers, and join it with the rows of the same paper.

    Args:
        changed: the row is new or has been completed; otherwise it is compared only if it has an
            identifier that was not known.
    """
    found = known(paper)
    if found.venue:
        db.execute(
            "UPDATE papers SET venue = ? WHERE id = ? AND venue = ''", [found.venue, paper_id]
        )
    before = db.total_changes
    keys = [(paper_id, *key.split(":", 1)) for key in found.keys]
    if item := paper.source.get(ZOTERO):
        keys.append((paper_id, ZOTERO, item))
    db.executemany(
        "INSERT OR IGNORE INTO identifiers (paper_id, kind, value) VALUES (?, ?, ?)", keys
    )
    if changed or db.total_changes != before:
        _join(db, paper_id)


def rows_with_identifiers(db: sqlite3.Connection, by_kind: Mapping[str, str]) -> list[int]:
    """Return the rows that have one of these identifiers, in the order of the identifiers."""
    sql = "SELECT paper_id FROM identifiers WHERE kind = ? AND value = ? ORDER BY paper_id"
    rows = (row["paper_id"] for pair in by_kind.items() for row in db.execute(sql, pair))
    return list(dict.fromkeys(rows))


def identifiers_of(db: sqlite3.Connection, paper_id: int) -> dict[str, str]:
    """Return the identifiers of a row of papers by kind."""
    rows = db.execute(
        "SELECT kind, value FROM identifiers WHERE paper_id = ? AND kind != 'title' ORDER BY id",
        [paper_id],
    ).fetchall()
    found = {row["kind"]: row["value"] for row in rows}
    return {kind: found[kind] for kind in KINDS if kind in found}


def zotero_items_of(db: sqlite3.Connection, paper_ids: Iterable[int]) -> list[str]:
    """Return the items of Zotero libraries that these rows of papers were read from."""
    rows = db.execute(
        "SELECT DISTINCT value FROM identifiers WHERE kind = ?"
        " AND paper_id IN (SELECT value FROM json_each(?)) ORDER BY value",
        [ZOTERO, json.dumps(list(paper_ids))],
    )
    return [row["value"] for row in rows]


def _join(db: sqlite3.Connection, paper_id: int) -> None:
    own = _known(db, paper_id)
    decided = [
        (other, decision)
        for other in _candidates(db, paper_id)
        if (decision := compare(own, _known(db, other)))
    ]
    # Identifiers first: they may join rows that titles alone only link. Then links: they keep rows
    # apart that a record without identifiers would join.
    decided.sort(key=lambda pair: (pair[1].rule not in KINDS, pair[1].relation == "same", pair[0]))
    for other, decision in decided:
        _decide(db, paper_id, other, decision)


def _decide(db: sqlite3.Connection, paper_id: int, other_id: int, decision: Decision) -> None:
    first, second = sorted((paper_id, other_id))
    before = one(
        db,
        "SELECT id, relation FROM duplicates WHERE paper_id = ? AND other_id = ?",
        [first, second],
    )
    by_identifier = decision.rule in KINDS
    if before is not None and not (before["relation"] == "linked" and by_identifier):
        return
    relation = decision.relation
    if relation == "same" and not _may_merge(db, paper_id, other_id, by_identifier=by_identifier):
        relation = "linked"
    columns = {
        "relation": relation,
        "rule": decision.rule,
        "evidence": decision.evidence,
        "created_at": now(),
    }
    if before is None:
        insert(db, "duplicates", paper_id=first, other_id=second, **columns)
    else:
        update(db, "duplicates", before["id"], **columns)
    if relation == "same":
        keep_newest(db, members(db, paper_id))


def _may_merge(db: sqlite3.Connection, one_id: int, other_id: int, *, by_identifier: bool) -> bool:
    """Return False if merging two rows would also merge rows that were split or are apart.

    A record without identifiers may have the title of a preprint and of its published version, or
    the title of two reports with a DOI each.
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


def _candidates(db: sqlite3.Connection, paper_id: int) -> list[int]:
    """Return the other rows with a common identifier or key of the title."""
    keys = db.execute(
        "SELECT kind, value FROM identifiers WHERE paper_id = ?", [paper_id]
    ).fetchall()
    found: set[int] = set()
    for row in keys:
        block = db.execute(
            "SELECT paper_id FROM identifiers WHERE kind = ? AND value = ? LIMIT ?",
            [row["kind"], row["value"], BLOCK + 1],
        ).fetchall()
        if len(block) <= BLOCK:
            found.update(other["paper_id"] for other in block)
    return sorted(found - {paper_id})


def _known(db: sqlite3.Connection, paper_id: int) -> Known:
    row = one(db, "SELECT title, authors, year, venue FROM papers WHERE id = ?", [paper_id]) or {}
    ids = identifiers_of(db, paper_id)
    return Known(ids, row["title"], row["authors"], row["year"], row["venue"])


def members(db: sqlite3.Connection, paper_id: int) -> list[int]:
    """Return the ids of all rows of the same paper, in order, this one included."""
    rows = db.execute(
        "WITH RECURSIVE members(id) AS (SELECT ?"
        " UNION SELECT other_id FROM members JOIN duplicates ON paper_id = members.id"
        "   WHERE relation = 'same'"
        " UNION SELECT paper_id FROM members JOIN duplicates ON other_id = members.id"
        "   WHERE relation = 'same')"
        " SELECT id FROM members ORDER BY id",
        [paper_id],
    )
    return [row[0] for row in rows]


def count_merged(db: sqlite3.Connection) -> int:
    """Return the number of ids of papers minus the number of papers.

    The versions of an abstract at arXiv have one id, and count as papers of their own.
    """
    pairs = db.execute("SELECT paper_id, other_id FROM duplicates WHERE relation = 'same'")
    left = {paper_id for pair in pairs for paper_id in pair}
    above = 0
    while left:
        found = members(db, next(iter(left)))
        left.difference_update(found)
        ids = db.execute(
            "SELECT DISTINCT source_id FROM papers WHERE id IN (SELECT value FROM json_each(?))",
            [json.dumps(found)],
        )
        above += len(ids.fetchall()) - 1
    return above


def current_annotations(db: sqlite3.Connection, paper_ids: Iterable[int]) -> list[Row]:
    """Return the current annotations of these rows, the newest first."""
    return db.execute(
        "SELECT id, paper_id, framework, created_at FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) AND current = 1"
        " ORDER BY created_at DESC, id DESC",
        [json.dumps(list(paper_ids))],
    ).fetchall()


def set_current(db: sqlite3.Connection, annotation_id: int, is_current: bool) -> None:
    """Set the flag of an annotation and its moves."""
    update(db, "annotations", annotation_id, current=int(is_current))
    db.execute(
        "UPDATE moves SET current = ? WHERE annotation_id = ?", [int(is_current), annotation_id]
    )


def keep_newest(db: sqlite3.Connection, paper_ids: Iterable[int]) -> None:
    """Keep one annotation of each framework current among rows that have become one paper."""
    kept = set()
    for row in current_annotations(db, paper_ids):
        if row["framework"] in kept:
            set_current(db, row["id"], False)
        kept.add(row["framework"])


def restore_newest(db: sqlite3.Connection, paper_ids: list[int]) -> None:
    """Make the newest annotation of each framework current if the rows of a paper lack one."""
    kept = {row["framework"] for row in current_annotations(db, paper_ids)}
    newest = db.execute(
        "SELECT id, framework FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) ORDER BY created_at DESC, id DESC",
        [json.dumps(paper_ids)],
    ).fetchall()
    for row in newest:
        if row["framework"] not in kept:
            kept.add(row["framework"])
            set_current(db, row["id"], True)


def pairs(db: sqlite3.Connection, paper_id: int | None = None) -> list[Pair]:
    """Return the decided pairs of all rows, or of one row."""
    rows = db.execute(
        "SELECT paper_id, one.source_id AS one_id, one.title AS one_title,"
        " other_id, other.source_id AS other_source_id, other.title AS other_title,"
        " CASE relation WHEN 'same' THEN 'merged' ELSE relation END AS relation, rule, evidence"
        " FROM duplicates"
        " JOIN papers AS one ON one.id = paper_id JOIN papers AS other ON other.id = other_id"
        " WHERE :paper IS NULL OR :paper IN (paper_id, other_id) ORDER BY paper_id, other_id",
        {"paper": paper_id},
    )
    return [
        Pair(
            paper=Side(row=row["paper_id"], id=row["one_id"], title=row["one_title"]),
            other=Side(row=row["other_id"], id=row["other_source_id"], title=row["other_title"]),
            relation=row["relation"],
            rule=row["rule"],
            evidence=row["evidence"],
        )
        for row in rows
    ]


def split(db: sqlite3.Connection, paper_id: int) -> list[Pair]:
    """Undo the merges and links of one row of papers, and remember it.

    The annotations of all rows are kept; of a paper without a current annotation, the newest
    becomes current. The caller runs it in a transaction.

    Returns:
        The pairs before they were undone.
    """
    undone = [pair for pair in pairs(db, paper_id) if pair.relation != "split"]
    others = [other for other in members(db, paper_id) if other != paper_id]
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
        restore_newest(db, members(db, row))
    return undone


def rows_with_annotations(db: sqlite3.Connection, paper_ids: list[int]) -> list[int]:
    """Return the rows of these papers that have the current annotations.

    A paper without a current annotation is represented by the first of the given rows. Of an id
    with several abstracts, such as the versions of a paper at arXiv, all given rows are returned.
    """
    shown: dict[int, None] = {}
    for paper_id in paper_ids:
        group = members(db, paper_id)
        annotated = sorted({row["paper_id"] for row in current_annotations(db, group)})
        chosen = annotated or [row for row in paper_ids if row in group][:1]
        if _source_id(db, paper_id) in {_source_id(db, row) for row in chosen}:
            shown[paper_id] = None
        shown |= dict.fromkeys(chosen)
    return list(shown)


def representing_row(db: sqlite3.Connection, paper_id: int) -> int:
    """Return the row that represents a paper: with the newest annotation, else the first row."""
    group = members(db, paper_id)
    annotated = current_annotations(db, group)
    return int(annotated[0]["paper_id"]) if annotated else group[0]


def _source_id(db: sqlite3.Connection, paper_id: int) -> str:
    row = db.execute("SELECT source_id FROM papers WHERE id = ?", [paper_id]).fetchone()
    return str(row["source_id"])
