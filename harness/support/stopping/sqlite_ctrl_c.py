"""SQLite that Ctrl-C can interrupt: long statements, and the wait for another process."""

from __future__ import annotations

import sqlite3
import time

INSTRUCTIONS = 100_000
"""Virtual machine instructions between two calls of the progress handler: some milliseconds."""
STEP = 0.2
"""Seconds that SQLite itself waits for a lock, during which Python handles no signal."""


def handle_signals(connection: sqlite3.Connection) -> None:
    """Let Ctrl-C abort a statement, whose error `is_interrupted` then recognises.

    Python runs signal handlers in any Python code of the main thread, even in an empty callback;
    its KeyboardInterrupt makes SQLite abort the statement, and is lost.
    """
    connection.set_progress_handler(lambda: None, INSTRUCTIONS)


def is_interrupted(error: sqlite3.Error) -> bool:
    """Return True if Ctrl-C aborted the statement."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def begin_immediate(connection: sqlite3.Connection, seconds: float) -> None:
    """Begin a transaction with the write lock, waiting at most `seconds` for other processes.

    Raises:
        sqlite3.OperationalError: another process holds the lock for longer.
    """
    [before] = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {min(seconds, STEP) * 1000:.0f}")
    limit = time.monotonic() + seconds
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                    raise
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout = {before}")
