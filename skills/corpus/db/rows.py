"""Read and write rows of the corpus database, decode stored JSON, and find the rows of a paper."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]


def insert(db: sqlite3.Connection, table: str, **columns: Any) -> int:
    """Insert a row with the values `columns`, and return its id."""
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    cursor = db.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608  not user input
        list(columns.values()),
    )
    return int(cursor.lastrowid or 0)


def update(db: sqlite3.Connection, table: str, row_id: int, **columns: Any) -> None:
    """Set the given columns of the row with this id."""
    assigned = ", ".join(f"{name} = ?" for name in columns)
    db.execute(
        f"UPDATE {table} SET {assigned} WHERE id = ?",  # noqa: S608  not user input
        [*columns.values(), row_id],
    )


def one(db: sqlite3.Connection, sql: str, parameters: list[Any]) -> Row | None:
    """Return the first row of a query, or None."""
    found: Row | None = db.execute(sql, parameters).fetchone()
    return found


def stored_json(text: str) -> Any:
    """Return the value of a stored JSON text.

    Raises:
        sqlite3.DatabaseError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as exc:
        raise sqlite3.DatabaseError(f"a stored record is not JSON ({exc})") from exc


def stored_record(text: str) -> dict[str, Any]:
    """Return the stored record of an annotation, parsed from its JSON text.

    Raises:
        sqlite3.DatabaseError: the text is not JSON, or a required key is missing.
    """
    match stored_json(text):
        case {
            "checks": {
                "support": {},
                "copied": {},
                "source": {},
                "unsupported_numbers": {},
                "unsupported_names": {},
                "duplicate_moves": [*_],
            },
            "provenance": {"key": str(), "input": {"sha256": str()}},
        } as record:
            return dict(record)
    raise sqlite3.DatabaseError("a stored record is not a whole annotation")


def now() -> str:
    """Return the current UTC time in ISO 8601 with seconds, the format of times in all tables."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def members(db: sqlite3.Connection, paper_id: int) -> list[int]:
    """Return the ids of all rows of the paper that this row belongs to, in ascending order."""
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


def current_annotations(db: sqlite3.Connection, paper_ids: Iterable[int]) -> list[Row]:
    """Return the current annotations of the rows `paper_ids`, the latest first."""
    return db.execute(
        "SELECT id, paper_id, framework, created_at FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) AND current = 1"
        " ORDER BY created_at DESC, id DESC",
        [json.dumps(list(paper_ids))],
    ).fetchall()


def set_current(db: sqlite3.Connection, annotation_id: int, is_current: bool) -> None:
    """Set the flag `current` of an annotation and of its moves."""
    update(db, "annotations", annotation_id, current=int(is_current))
    db.execute(
        "UPDATE moves SET current = ? WHERE annotation_id = ?", [int(is_current), annotation_id]
    )
