"""Read and write the tables `papers` and `identifiers`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import cast

from skills.corpus.db.connection import transaction
from skills.corpus.db.facets import first_category, words
from skills.corpus.db.rows import Row, insert, now, one, update
from skills.corpus.identity.identifiers import BLOCK, ZOTERO, known
from skills.corpus.records import Failure
from skills.nanda.paper import METADATA, IdField, Paper


def paper_of(row: Row, source: Mapping[str, str] | None = None) -> Paper:
    """Return the paper in a row of `papers`.

    Args:
        source: the value of `Paper.source`, or the "input" of a provenance, whose digests are left
            out; None for `{"kind": "corpus"}`.
    """
    source = {"kind": "corpus"} if source is None else source
    return Paper(
        cast("IdField", row["id_field"]),
        row["source_id"],
        abstract=row["abstract"],
        source={key: value for key, value in source.items() if key not in ("sha256", "sections")},
        **{name: row[name] for name in METADATA},
    )


def failure_of(row: Row, paper: Paper) -> Failure:
    """Return the failure of `paper` from a row of `failures`."""
    return Failure(
        paper, row["error_type"], row["reason"], bool(row["retryable"]), row["raw_reply"]
    )


def row_id(db: sqlite3.Connection, paper: Paper) -> int | None:
    """Return the id of the row of `papers` that contains `paper`, or None."""
    row = look_up(db, paper.id, paper.id_field, paper.sha256)
    return None if row is None else int(row["id"])


def look_up(db: sqlite3.Connection, paper_id: str, id_field: str, sha256: str) -> Row | None:
    """Return the row with this source id and this digest of the abstract, or None.

    The same paper may be stored under another `id_field`, since a file with papers of several
    sources names its id column "id". A row with the given `id_field` takes precedence.
    """
    return one(
        db,
        "SELECT * FROM papers WHERE source_id = ? AND sha256 = ?"
        " ORDER BY id_field = ? DESC, id LIMIT 1",
        [paper_id, sha256, id_field],
    )


def with_abstract(db: sqlite3.Connection, sha256: str) -> Paper | None:
    """Return the first stored paper whose abstract has this digest, or None."""
    row = one(db, "SELECT * FROM papers WHERE sha256 = ? ORDER BY id LIMIT 1", [sha256])
    return None if row is None else paper_of(row)


def save(db: sqlite3.Connection, paper: Paper) -> int:
    """Insert a paper or update its row, and return the id of the row.

    A stored value is kept if `paper` lacks the value. The row may be merged with or linked to
    other rows (see `identify`).
    """
    columns = {
        **{name: getattr(paper, name) for name in METADATA},
        "year": paper.year,
        "category": first_category(paper.categories),
    }
    with transaction(db):
        known = look_up(db, paper.id, paper.id_field, paper.sha256)
        if known is None:
            row = insert(
                db,
                "papers",
                id_field=paper.id_field,
                source_id=paper.id,
                abstract=paper.abstract,
                sha256=paper.sha256,
                added_at=now(),
                **columns,
            )
            identify(db, row, paper)
            return row
        if known["id_field"] == "id":  # "arxiv_id" and "paper_id" are more specific than "id"
            columns["id_field"] = paper.id_field
        if changed := {k: value for k, value in columns.items() if value and value != known[k]}:
            update(db, "papers", known["id"], **changed)
            if not {"year", "categories"}.isdisjoint(changed):
                update_facets(db, known["id"])
        identify(db, known["id"], paper, changed=bool(changed))
        return int(known["id"])


def stored(db: sqlite3.Connection, paper_id: int) -> Paper:
    """Return the paper in the row with this id; the row must exist."""
    return paper_of(one(db, "SELECT * FROM papers WHERE id = ?", [paper_id]) or {})


def update_facets(db: sqlite3.Connection, paper_id: int) -> None:
    """Update the facet words of a paper's moves after its year or categories have changed."""
    paper = stored(db, paper_id)
    rows = db.execute(
        "SELECT id, move FROM moves WHERE annotation_id IN"
        " (SELECT id FROM annotations WHERE paper_id = ?)",
        [paper_id],
    )
    for row in rows.fetchall():
        update(db, "moves", row["id"], facets=words(row["move"], paper))


def identify(db: sqlite3.Connection, paper_id: int, paper: Paper, *, changed: bool = True) -> None:
    """Store the identifiers and venue of a row, and merge or link rows of the same paper.

    Args:
        paper_id: the id of the row.
        paper: the paper as a source states it.
        changed: True if the row is new or was completed. Otherwise the row is compared with other
            rows only if `paper` has an identifier or title key that is not stored yet.
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
    if (changed or db.total_changes != before) and (candidates := _candidates(db, paper_id)):
        from skills.corpus.db import merging

        merging.join(db, paper_id, candidates)


def _candidates(db: sqlite3.Connection, paper_id: int) -> list[int]:
    """Return the ids of other rows that share an identifier or a title key with this row.

    An identifier or key that more than `BLOCK` rows have is ignored.
    """
    rows = db.execute(
        "SELECT DISTINCT other.paper_id FROM identifiers AS own"
        " JOIN identifiers AS other USING (kind, value)"
        " WHERE own.paper_id = :paper AND other.paper_id != :paper AND NOT EXISTS"
        " (SELECT 1 FROM identifiers AS same WHERE same.kind = own.kind AND same.value = own.value"
        "   LIMIT 1 OFFSET :block) ORDER BY other.paper_id",
        {"paper": paper_id, "block": BLOCK},
    )
    return [row[0] for row in rows]
