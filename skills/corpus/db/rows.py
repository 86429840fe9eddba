"""Rows of the corpus database: one written, one read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite_utils import Database

Row = Mapping[str, Any]


def insert(db: Database, table: str, **columns: Any) -> int:
    """Write one row and return its id."""
    # Not `Table.insert`, which asks for the table's columns before each row.
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    cursor = db.conn.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608  names are ours
        list(columns.values()),
    )
    return int(cursor.lastrowid or 0)


def one(db: Database, sql: str, parameters: list[Any]) -> Row | None:
    """The first row that a query finds."""
    found: Row | None = db.conn.execute(sql, parameters).fetchone()
    return found


def now() -> str:
    """The time as the tables write it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
