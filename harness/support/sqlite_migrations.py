"""Migrations of a SQLite file: functions that are each applied once, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

Migration = Callable[[sqlite3.Connection], None]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Apply the migrations that the file has not had yet, all or none.

    The function name is the key: migrations must not be renamed, changed or removed.
    """
    connection.execute("BEGIN IMMEDIATE")  # a second process waits here
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS _migrations (name TEXT PRIMARY KEY, applied_at TEXT)"
        )
        applied = {row[0] for row in connection.execute("SELECT name FROM _migrations")}
        for migration in migrations:
            if migration.__name__ not in applied:
                migration(connection)
                connection.execute(
                    "INSERT INTO _migrations VALUES (?, datetime('now'))", [migration.__name__]
                )
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
