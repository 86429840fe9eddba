"""Read which rows of papers are one paper, and keep one annotation of each paper current."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from skills.corpus.db.rows import Row, update


def members(db: sqlite3.Connection, paper_id: int) -> list[int]:
    """Return the ids of all rows that are the same paper as this one, with its own, in order."""
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


def merged(db: sqlite3.Connection) -> int:
    """Return how many ids of papers there are above the number of papers.

    The versions of an abstract at arXiv have one id; each counts, as in a folder of parts.
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


def current(db: sqlite3.Connection, paper_ids: Iterable[int]) -> list[Row]:
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
    """Leave one annotation of each framework current among rows that have become one paper."""
    kept = set()
    for row in current(db, paper_ids):
        if row["framework"] in kept:
            set_current(db, row["id"], False)
        kept.add(row["framework"])


def restore(db: sqlite3.Connection, paper_ids: list[int]) -> None:
    """Make the newest annotation of each framework current if these rows of a paper have none."""
    kept = {row["framework"] for row in current(db, paper_ids)}
    newest = db.execute(
        "SELECT id, framework FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) ORDER BY created_at DESC, id DESC",
        [json.dumps(paper_ids)],
    ).fetchall()
    for row in newest:
        if row["framework"] not in kept:
            kept.add(row["framework"])
            set_current(db, row["id"], True)
