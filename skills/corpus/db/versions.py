"""Read all annotations of a paper: the current one, and those that it replaced."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skills.corpus.db.rows import stored_record
from skills.corpus.db.works.groups import members
from skills.nanda.framework import Framework


@dataclass(frozen=True, slots=True)
class Version:
    """One annotation of a paper, by any model."""

    row_id: int
    model: str
    created_at: str
    is_current: bool
    record: Mapping[str, Any]


def versions(db: sqlite3.Connection, paper_id: int, framework: Framework) -> list[Version]:
    """Return the annotations of a paper and of the rows merged with it, the current one first."""
    rows = db.execute(
        "SELECT id, model, created_at, current, record FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) AND framework = ?"
        " ORDER BY current DESC, created_at DESC, id DESC",
        [json.dumps(members(db, paper_id)), framework.name],
    )
    found = [
        Version(
            row["id"],
            row["model"],
            row["created_at"],
            bool(row["current"]),
            stored_record(row["record"]),
        )
        for row in rows
    ]
    return [one for one in found if all(name in one.record for name in framework.names)]
