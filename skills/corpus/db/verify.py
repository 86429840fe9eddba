"""Verify the annotations in the database against their content keys."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from skills.corpus.content_key import verify


def verify_all(db: sqlite3.Connection) -> tuple[int, list[dict[str, Any]]]:
    """Compute the keys of all annotations again, whether current or not.

    Returns:
        How many were checked, and those that do not match: annotation, paper, reasons.
    """
    rows = db.execute(
        "SELECT annotations.id, key, record, abstract, source_id FROM annotations"
        " JOIN papers ON papers.id = paper_id ORDER BY annotations.id"
    )
    checked, wrong = 0, []
    for row in rows:
        checked += 1
        if reasons := _reasons(row["record"], row["abstract"], row["key"]):
            wrong.append({"annotation": row["id"], "paper": row["source_id"], "reasons": reasons})
    return checked, wrong


def _reasons(stored: str, abstract: str, key: str) -> list[str]:
    try:
        record: dict[str, Any] = json.loads(stored)
        reasons = verify(record, abstract)
        other = record["provenance"]["key"] != key
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        return [f"its record is damaged ({type(exc).__name__})"]
    return [*reasons, *["its row has another key than its record"] * other]
