"""Helpers for SQLite files: migrations, private files of the user, Ctrl-C, and errors."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from harness.redaction import redact

T = TypeVar("T")
Migration = Callable[[sqlite3.Connection], None]
INSTRUCTIONS = 100_000
"""Number of instructions of SQLite's virtual machine between two calls of the progress handler.
Executing this number of instructions takes some milliseconds.
"""
PATIENCE = 10.0
"""Maximum seconds to wait for the lock of a user's database."""
USE_WAL = "PRAGMA journal_mode = WAL"
PAUSE = 0.01
"""Seconds between two attempts to acquire a lock."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Apply all missing migrations of a file in one transaction.

    The file stores the function names of its migrations, so migrations must not be renamed,
    changed or removed. A file with all migrations is only read, so that it can be opened while
    another process writes.
    """
    if not _due(connection, migrations):
        return
    connection.execute("BEGIN IMMEDIATE")  # a second process waits at this point
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS _migrations (name TEXT PRIMARY KEY, applied_at TEXT)"
        )
        # The file is checked again, since another process may have applied migrations meanwhile.
        for migration in _due(connection, migrations):
            migration(connection)
            connection.execute(
                "INSERT INTO _migrations VALUES (?, datetime('now'))", [migration.__name__]
            )
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _due(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> list[Migration]:
    """Return the migrations that have not been applied to the file."""
    tables = "SELECT 1 FROM sqlite_master WHERE name = '_migrations'"
    if connection.execute(tables).fetchone() is None:
        return list(migrations)
    applied = {row[0] for row in connection.execute("SELECT name FROM _migrations")}
    return [migration for migration in migrations if migration.__name__ not in applied]


class UserDatabase:
    """A private SQLite file of the user, with mode 0600 and a write-ahead log (WAL).

    If the file cannot be used, the user is informed, and the program continues.

    Args:
        path: the file, which is created with its folder if it does not exist.
        migrations: functions that create or change tables (see `migrate`).
        problem: the clause with which the message about an error begins.
        notice: called once with a message if the file cannot be used.
        prepare: called once with the first connection, after the migrations.

    Attributes:
        error: the reason why the file cannot be used, or None.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        problem: str,
        notice: Callable[[str], None],
        prepare: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.path = path
        self.error: Exception | None = None
        self._migrations, self._prepare = migrations, prepare
        self._problem, self._notice = problem, notice
        self._ready = False

    def run(self, work: Callable[[sqlite3.Connection], T], instead: T) -> T:
        """Return the result of `work` on a new connection, or `instead` after an error.

        The first error is passed to `notice`.
        """
        try:
            with contextlib.closing(self.connect()) as db:
                return work(db)
        except (sqlite3.Error, OSError) as exc:
            if self.error is None:
                self.error = exc
                more = "move that file away to begin with an empty one"
                self._notice(f"{self._problem}: {exc} ({self.path}); {more}")
            return instead

    def connect(self) -> sqlite3.Connection:
        """Return a new connection in autocommit mode; the first call applies the migrations.

        Raises:
            OSError: the file cannot be created.
            sqlite3.Error: the file is not a usable database.
        """
        if not self._ready:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            read_schema(db)
            # No row is lost if the process is killed; a power failure may lose the last rows.
            db.execute("PRAGMA synchronous = NORMAL")
            if not self._ready:
                execute_when_free(db, USE_WAL, PATIENCE)
                migrate(db, self._migrations)
                if self._prepare is not None:
                    self._prepare(db)
                self._ready = True
        except BaseException:
            db.close()
            raise
        return db


def execute_when_free(connection: sqlite3.Connection, statement: str, seconds: float) -> None:
    """Execute a statement that needs a lock, waiting at most `seconds` for other processes.

    The function waits in Python, since Python cannot handle signals while SQLite waits. Besides,
    SQLite does not wait if another connection switches the same new database to WAL at the same
    time.

    Raises:
        sqlite3.OperationalError: another process holds the lock for longer than `seconds`.
    """
    [before] = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    limit = time.monotonic() + seconds
    try:
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                    raise
                time.sleep(PAUSE)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {before}")


def read_schema(db: sqlite3.Connection) -> None:
    """Make SQLite read the schema of a database, before another statement does.

    Raises:
        sqlite3.DatabaseError: the schema is damaged, or contains a name that is not UTF-8.
    """
    try:
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except UnicodeDecodeError as exc:
        raise sqlite3.DatabaseError("a name in its schema is damaged") from exc


def integrity_fault(db: sqlite3.Connection) -> str:
    """Return the first fault that SQLite finds in the structure of a database, or "".

    `integrity_check` takes about 4 ms per MB. `quick_check` takes half of the time, but does not
    find rows that are missing in an index.
    """
    # The message is read as a blob, since it may contain a damaged name that is not UTF-8.
    sql = "SELECT CAST(integrity_check AS BLOB) FROM pragma_integrity_check LIMIT 1"
    (found,) = db.execute(sql).fetchone()
    return "" if found == b"ok" else found.decode(errors="replace")


def storable(text: str) -> str:
    """Return `text` without secrets, and with escapes for lone surrogates, which SQLite refuses."""
    return redact(text).encode(errors="backslashreplace").decode()


def row_id(text: str) -> int | None:
    """Return the number of a row; None if the text does not consist of 1 to 18 digits."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def handle_signals(connection: sqlite3.Connection) -> None:
    """Let Ctrl-C abort statements with an error that `is_interrupted` recognizes.

    Python runs signal handlers in any Python code of the main thread, even in an empty progress
    handler. SQLite then aborts the statement with an error of its own, and drops the
    KeyboardInterrupt.
    """
    connection.set_progress_handler(lambda: None, INSTRUCTIONS)


def is_interrupted(error: sqlite3.Error) -> bool:
    """Return True for the error of a statement that Ctrl-C aborted."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def is_full_or_locked(error: Exception | None) -> bool:
    """Return True for the error of a full or failing disk, or of a locked database."""
    codes = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in codes or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EFBIG)


def is_of_storage(error: Exception) -> bool:
    """Return True for a storage error, such as a full disk, or a locked or damaged database."""
    damaged = type(error) is sqlite3.DatabaseError  # most subclasses are errors of statements
    return damaged or isinstance(error, OSError | MemoryError | sqlite3.OperationalError)
