"""Migrations of a SQLite file: functions that are each applied once, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

Migration = Callable[[sqlite3.Connection], None]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Apply the migrations that the file has not had yet, all or none.

    The function name is the key: migrations must not be renamed, changed or removed. A file that
    has had them all is only read, so that it can be opened while another process writes.
    """
    if not _due(connection, migrations):
        return
    connection.execute("BEGIN IMMEDIATE")  # a second process waits here
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS _migrations (name TEXT PRIMARY KEY, applied_at TEXT)"
        )
        for migration in _due(connection, migrations):  # again: it may have applied some
            migration(connection)
            connection.execute(
                "INSERT INTO _migrations VALUES (?, datetime('now'))", [migration.__name__]
            )
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _due(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> list[Migration]:
    """Return the migrations that the file has not had yet."""
    tables = "SELECT 1 FROM sqlite_master WHERE name = '_migrations'"
    if connection.execute(tables).fetchone() is None:
        return list(migrations)
    applied = {row[0] for row in connection.execute("SELECT name FROM _migrations")}
    return [migration for migration in migrations if migration.__name__ not in applied]
