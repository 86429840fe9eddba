"""Read and write the table `awaited`, which keeps papers until their abstracts are found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace

from skills.corpus.db import completion, papers
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import Row, insert, now, one
from skills.corpus.identity.identifiers import identifiers_of
from skills.corpus.records import Facts
from skills.nanda.paper import METADATA, Paper


def keep(db: sqlite3.Connection, paper: Paper) -> bool:
    """Store a paper without an abstract, and return True if a row was added.

    No row is added if the paper is already stored, or if it has no identifier by which its abstract
    could be looked up.
    """
    if not identifiers_of(paper, paper.source):
        return False
    with transaction(db):
        sql = "SELECT 1 FROM awaited WHERE source_id = ? AND id_field = ?"
        if one(db, sql, [paper.id, paper.id_field]):
            return False
        insert(
            db,
            "awaited",
            id_field=paper.id_field,
            source_id=paper.id,
            **{name: getattr(paper, name) for name in METADATA},
            source=json.dumps(dict(paper.source), ensure_ascii=False),
            added_at=now(),
        )
    return True


def count(db: sqlite3.Connection) -> int:
    """Return the number of stored papers without an abstract."""
    return int(db.execute("SELECT count(*) FROM awaited").fetchone()[0])


def due(db: sqlite3.Connection, source: str, since: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the row id and the identifiers of each paper to look up at a source.

    Papers that were looked up at the source since the time `since` are omitted.
    """
    rows = db.execute(
        "SELECT * FROM awaited WHERE NOT EXISTS (SELECT 1 FROM lookups WHERE of = 'awaited'"
        " AND row_id = awaited.id AND source = ? AND looked_up_at >= ?) ORDER BY id",
        [source, since],
    )
    for row in rows.fetchall():
        paper = _paper(row)
        yield row["id"], identifiers_of(paper, paper.source)


def complete(db: sqlite3.Connection, row_id: int, found: Facts) -> int | None:
    """Move a paper from `awaited` to `papers`, with the abstract that a source states.

    Args:
        row_id: the id of the row of `awaited`.

    Returns:
        The id of the row of `papers`, or None if `found` has no abstract or another process has
        moved the paper.
    """
    row = one(db, "SELECT * FROM awaited WHERE id = ?", [row_id])
    if row is None or not found.abstract:
        return None
    kept = _paper(row)
    paper = replace(
        kept,
        abstract=found.abstract,
        source={**found.stated, **kept.source},
        **{name: getattr(kept, name) or getattr(found, name) for name in METADATA},
    )
    with transaction(db):
        paper_id = papers.save(db, paper)
        completion.complete(db, paper_id, found)
        completion.remember(db, "papers", paper_id, found.source, found=True)
        db.execute("DELETE FROM lookups WHERE of = 'awaited' AND row_id = ?", [row_id])
        db.execute("DELETE FROM awaited WHERE id = ?", [row_id])
    return paper_id


def _paper(row: Row) -> Paper:
    return papers.paper_of({**row, "abstract": ""}, json.loads(row["source"]))
