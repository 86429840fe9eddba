"""Temporary databases, for what is too large for memory and is not kept."""

from __future__ import annotations

import sqlite3
from typing import Any

from harness.errors import OutputError


def open_temporary(*schema: str) -> sqlite3.Connection:
    """Return a new database with these tables, which is deleted when it is closed.

    SQLite keeps a database without a name in memory until its cache is full, then in a file in
    $SQLITE_TMPDIR, /var/tmp or /tmp. Nothing is ever rolled back or committed, since that takes
    time. Any thread may close the database, as the garbage collector does. `execute` raises an
    OutputError if the file cannot be written.
    """
    db = sqlite3.connect("", isolation_level=None, check_same_thread=False, factory=_Temporary)
    db.execute("PRAGMA journal_mode = OFF")
    for statement in schema:
        db.execute(statement)
    db.execute("BEGIN")
    return db


class _Temporary(sqlite3.Connection):
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.OperationalError as exc:
            raise OutputError(
                f"a temporary file cannot be written: {exc}",
                hint="The environment variable SQLITE_TMPDIR names a folder with more space.",
            ) from exc
