"""Opening the corpus database, and one transaction at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, InputError, OutputError
from harness.settings import Settings
from harness.support.sqlite_migrations import migrate
from skills.corpus.db.schema import MIGRATIONS

if TYPE_CHECKING:
    from sqlite_utils import Database

NAME = "corpus.db"
BUSY_SECONDS = 30.0
"""How long another process's transaction is waited for."""
_ANOTHER = "--db names another file; a file that is not there yet is made."
_LOCKED = "Another process is writing to it: try again when that has ended."
_HINTS: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: "Its disk is full: make room, or name a file elsewhere with --db.",
    sqlite3.SQLITE_IOERR: "Its disk is full or failing; --db names a file elsewhere.",
    sqlite3.SQLITE_READONLY: "The file and its folder must be yours to write; --db names another.",
    sqlite3.SQLITE_CANTOPEN: "Is it a folder, or another user's? --db names another file.",
}


def default_path(settings: Settings) -> Path:
    """Where the corpus is unless `--db` says otherwise: beside the run log, never in the cache."""
    return settings.data_dir / NAME


def locks(path: Path) -> Path:
    """Where the locks of the jobs on a corpus are: beside it, so that all who use it see them."""
    return path.with_name(f".{path.name}.jobs")


@contextlib.contextmanager
def open_corpus(path: Path, *, must_exist: bool = False) -> Iterator[Database]:
    """The database at `path`, made and brought up to date if need be, and closed at the end.

    Args:
        must_exist: refuse a path where nothing is, for commands that only read.

    Raises:
        InputError: it is missing though it must exist, is damaged, is no SQLite database of this
            kind, or was made by a newer version; nothing has been written to it then.
        OutputError: it cannot be made or written: a folder, no permission, a full disk, or another
            process has it for `BUSY_SECONDS`. In use as well, where it is SQLite that says so.
    """
    from sqlite_utils import Database

    if must_exist and not path.is_file():
        raise InputError(
            "there is no corpus yet",
            where=str(path),
            hint="`/annotate TABLE` or `/corpus add TABLE` makes one; --db names another file.",
        )
    with _opening(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        with _opening(path):
            _prepare(connection, path)
        with _using(path):
            yield Database(connection, execute_plugins=False)
    finally:
        connection.close()


@contextlib.contextmanager
def transaction(db: Database) -> Iterator[None]:
    """Write all of the block or nothing of it; a block within another is part of that one.

    It takes the write lock at once: a transaction that begins by reading cannot wait for it.
    """
    if db.conn.in_transaction:
        yield
        return
    try:
        db.conn.execute("BEGIN IMMEDIATE")
        yield
    except BaseException:
        db.conn.rollback()
        raise
    db.conn.commit()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _refuse_foreign(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    # Safe against a killed process; the last rows alone are at stake if the power fails.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.row_factory = sqlite3.Row
    # No transactions but those of `transaction`, which could not begin within another.
    connection.isolation_level = None
    migrate(connection, MIGRATIONS)


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that is another program's, or a newer version's, before writing to it."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return
    applied: set[str] = set()
    if "_migrations" in tables:
        applied = {name for (name,) in connection.execute("SELECT name FROM _migrations")}
    if MIGRATIONS[0].__name__ not in applied:
        raise InputError(
            "is no corpus database: it holds other tables", where=str(path), hint=_ANOTHER
        )
    if unknown := sorted(applied - {migration.__name__ for migration in MIGRATIONS}):
        raise InputError(
            f"was made by a newer version of the harness: {unknown[0]} is not known here",
            where=str(path),
            hint="Update the harness; --db names another file.",
        )


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Whatever fails before the database is in use is a fault of the file."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _fault(exc, path) or InputError(
            f"is no corpus database: {exc}", where=str(path), hint=_ANOTHER
        ) from exc
    except OSError as exc:
        raise OutputError(f"cannot be made: {exc.strerror or exc}", where=str(path)) from exc


@contextlib.contextmanager
def _using(path: Path) -> Iterator[None]:
    """Of what fails in use, only what SQLite says of the file is a fault of the file."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        fault = _fault(exc, path)
        if fault is None:
            raise
        raise fault from exc


def _fault(exc: sqlite3.Error, path: Path) -> HarnessError | None:
    """The error for what is wrong with the file or its disk; None for any other fault."""
    # The low byte: the others say more of the same, as SQLITE_IOERR_WRITE does of SQLITE_IOERR.
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return InputError(f"is no corpus database: {exc}", where=str(path), hint=_ANOTHER)
    if code == sqlite3.SQLITE_CORRUPT:
        return InputError(
            f"is damaged: {exc}",
            where=str(path),
            hint="Put a copy in its place; `sqlite3 FILE .recover` reads what is left of it.",
        )
    if code in _HINTS:
        return OutputError(f"the corpus cannot be used: {exc}", where=str(path), hint=_HINTS[code])
    return None
