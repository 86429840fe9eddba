"""Read what all rows of a paper state together."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from skills.corpus.db.lookups.facts import stated_of
from skills.corpus.db.works import groups

TEXTS = ("title", "authors", "published")
"""Columns in which another row completes one that lacks them."""


def stated_together(db: sqlite3.Connection, paper_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return `stated_of` each row, completed by the other rows of the same paper, and its texts.

    What the row itself states comes first, then the rows in order.
    """
    wanted = list(paper_ids)
    same = {one: groups.members(db, one) for one in _merged(db, wanted)}
    ids = sorted({*wanted, *(row for rows in same.values() for row in rows)})
    stated = stated_of(db, ids)
    if not same:
        return stated
    rows = db.execute(
        "SELECT id, title, authors, published FROM papers"
        " WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(ids)],
    )
    known = {
        row["id"]: {**{name: row[name] for name in TEXTS}, **stated.get(row["id"], {})}
        for row in rows
    }
    for one, members in same.items():
        stated[one] = {
            name: value
            for row in sorted(members, key=lambda row: (row == one, -row))  # the last one wins
            for name, value in known[row].items()
            if value
        }
    return stated


def _merged(db: sqlite3.Connection, paper_ids: list[int]) -> list[int]:
    """Return those of the rows that are the same paper as another row."""
    rows = db.execute(
        "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM duplicates"
        " WHERE relation = 'same' AND paper_id = value)"
        " OR EXISTS (SELECT 1 FROM duplicates WHERE relation = 'same' AND other_id = value)",
        [json.dumps(paper_ids)],
    )
    return [row[0] for row in rows]
