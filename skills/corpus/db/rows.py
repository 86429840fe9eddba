"""Read and write single rows of the corpus database, and decode stored JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
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
