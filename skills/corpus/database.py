"""Opening the corpus database, and one transaction at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError, OutputError
from harness.migrations import migrate
from harness.settings import Settings
from skills.corpus.schema import MIGRATIONS

if TYPE_CHECKING:
    from sqlite_utils import Database

NAME = "corpus.db"
BUSY_SECONDS = 30.0
"""How long another process's transaction is waited for."""


def default_path(settings: Settings) -> Path:
    """Where the corpus is unless `--db` says otherwise: beside the run log, never in the cache."""
    return settings.data_dir / NAME


@contextlib.contextmanager
def open_corpus(path: Path, *, must_exist: bool = False) -> Iterator[Database]:
    """The database at `path`, made and brought up to date if need be, and closed at the end.

    Args:
        must_exist: refuse a path where nothing is, for commands that only read.

    Raises:
        InputError: it is missing though it must exist, or is no SQLite database of this kind.
        OutputError: it cannot be made or written: a folder, no permission, a full disk.
    """
    from sqlite_utils import Database

    if must_exist and not path.is_file():
        raise InputError(
            "there is no corpus yet",
            where=str(path),
            hint="`/annotate TABLE` or `/corpus add TABLE` makes one; --db names another file.",
        )
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Safe against a killed process; the last rows alone are at stake if the power fails.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.row_factory = sqlite3.Row
            # No transactions but those of `transaction`, which could not begin within another.
            connection.isolation_level = None
            migrate(connection, MIGRATIONS)
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


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into errors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        raise OutputError(
            f"the corpus cannot be used: {exc}",
            where=str(path),
            hint="Is the disk full, or the file another user's? --db names another file.",
        ) from exc
    except sqlite3.DatabaseError as exc:
        raise InputError(
            f"is no corpus database: {exc}",
            where=str(path),
            hint="--db names another file; a file that is not there yet is made.",
        ) from exc
    except OSError as exc:
        raise OutputError(f"cannot be made: {exc.strerror or exc}", where=str(path)) from exc
