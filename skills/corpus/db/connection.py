"""Open the corpus database and temporary databases, and run transactions."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.api.skill import Call
from harness.errors import InputError, OutputError
from harness.settings import Settings
from harness.support.sqlite import (
    USE_WAL,
    execute_when_free,
    handle_signals,
    integrity_fault,
    is_interrupted,
    migrate,
    read_schema,
)
from skills.corpus.db.schema import MIGRATIONS

NAME = "corpus.db"
BUSY_SECONDS = 30.0
"""Maximum number of seconds to wait for a transaction of another process."""
_FIRST = "m001_papers"
"""The first migration of every corpus that was created by a version before 0.1.0."""
_OTHER_FILE = "--db selects another file, which is created if it does not exist."
_UNUSABLE_HINT = (
    "Is another process writing to the file, is the disk full, or do you lack write permission for "
    "the file or its folder? --db selects another file."
)


def default_path(settings: Settings) -> Path:
    """Return the path of the default corpus, which is in the folder of the run log."""
    return settings.data_dir / NAME


def database(call: Call) -> Path:
    """Return the path of the corpus that a run uses: `--db` or the default path."""
    return call.options.db or default_path(call.settings)


def locks(path: Path) -> Path:
    """Return the folder for the job locks of a corpus, which is next to the corpus."""
    return path.with_name(f".{path.name}.jobs")


@contextlib.contextmanager
def open_corpus(path: Path, *, must_exist: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the corpus at `path`, yield a connection, and close the connection after the block.

    The file is created if it does not exist, and migrated if its schema is old.

    Args:
        must_exist: True to raise an error if the file does not exist, instead of creating it.

    Raises:
        InputError: `must_exist` is True and the file does not exist; or the file is damaged, is not
            a corpus, or was created by a newer version or by a version before 0.1.0. The file is
            not changed.
        OutputError: the file cannot be created or written: `path` is a folder, permission is
            denied, the disk is full, or another process blocked the file for `BUSY_SECONDS`. The
            same error is raised if an SQL statement in the block fails for one of these reasons.
    """
    if path.is_dir():
        raise OutputError(
            "is a folder of parts, which can be read but not written",
            where=str(path),
            hint=f"`/corpus add {path} --db corpus.db` copies the parts to a database, and --db "
            "selects the database.",
        )
    if must_exist and not path.is_file():
        raise InputError(
            "there is no corpus yet",
            where=str(path),
            hint="`/annotate TABLE` or `/corpus add TABLE` creates a corpus; --db selects another "
            "file.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot be created: {exc.strerror or exc}", where=str(path)) from exc
    with _translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        with contextlib.closing(connection):
            handle_signals(connection)
            read_schema(connection)
            _refuse_foreign(connection, path)
            execute_when_free(connection, USE_WAL, BUSY_SECONDS)
            # With NORMAL, a killed process loses no row; a power failure may lose the last rows.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.row_factory = sqlite3.Row
            # sqlite3 must not begin transactions implicitly: `transaction` issues its own BEGIN.
            connection.isolation_level = None
            migrate(connection, MIGRATIONS)
            yield connection


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block as a transaction, which is rolled back if the block raises an error.

    A nested block joins the outer transaction. The write lock is acquired at the beginning, since
    SQLite does not wait for the lock if a transaction begins with a read and writes later.
    """
    if db.in_transaction:
        yield
        return
    try:
        execute_when_free(db, "BEGIN IMMEDIATE", BUSY_SECONDS)
        yield
    except BaseException:
        db.rollback()
        raise
    db.commit()


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise InputError if another program or an incompatible version created the database."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return
    first, last = MIGRATIONS[0].__name__, MIGRATIONS[-1].__name__
    applied: set[str] = set()
    if "_migrations" in tables:
        applied = {name for (name,) in connection.execute("SELECT name FROM _migrations")}
    if _FIRST not in applied and first not in applied:
        raise InputError(
            "is not a corpus database: it has other tables", where=str(path), hint=_OTHER_FILE
        )
    if first not in applied:
        raise InputError(
            "was created by a version of the harness before 0.1.0, whose tables are not read",
            where=str(path),
            hint="Export the corpus with that version: `/corpus export corpus.jsonl`. Then "
            f"`/corpus add corpus.jsonl` adds the annotations to a new corpus. {_OTHER_FILE}",
        )
    if unknown := sorted(name for name in applied if name > last):
        raise InputError(
            f"was created by a newer version of the harness: {unknown[0]} is not known here",
            where=str(path),
            hint="Update the harness; --db selects another file.",
        )


def refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    """Raise an error if the structure of an open corpus is damaged.

    Jobs call this function before long work, since a damaged database could not store the results.

    Raises:
        InputError: the database is damaged; it is not changed.
    """
    if found := integrity_fault(connection):
        from skills.corpus.db import damage

        raise damage.error(path, found)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate SQLite errors that concern the file or the disk to errors of the harness.

    Errors of SQL statements are raised unchanged, unless the database is damaged. An interruption
    becomes a KeyboardInterrupt.
    """
    try:
        yield
    except sqlite3.OperationalError as exc:
        if is_interrupted(exc):
            raise KeyboardInterrupt from exc
        code = getattr(exc, "sqlite_errorcode", None)  # not set if a text is not UTF-8
        if code in (None, sqlite3.SQLITE_ERROR):
            from skills.corpus.db import damage

            if found := (str(exc) if code is None else damage.find(path)):
                raise damage.error(path, found) from exc
            raise
        raise OutputError(
            f"the corpus cannot be used: {exc}", where=str(path), hint=_UNUSABLE_HINT
        ) from exc
    except sqlite3.DatabaseError as exc:
        if type(exc) is not sqlite3.DatabaseError:  # a subclass: an error in an SQL statement
            raise
        from skills.corpus.db import damage

        raise damage.error(path, str(exc)) from exc


def open_temporary(*schema: str) -> sqlite3.Connection:
    """Return a connection to a new temporary database.

    SQLite keeps the database in memory until the cache is full, and then in a file in
    $SQLITE_TMPDIR, /var/tmp or /tmp. The database is deleted when the connection is closed. The
    journal is off, for speed; transactions thus cannot be rolled back. Any thread may close the
    connection, since the garbage collector may run in any thread.

    Args:
        schema: SQL statements that create the tables.

    Raises:
        OutputError: the file cannot be written. `execute` of the connection raises the same error.
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
                hint="The environment variable SQLITE_TMPDIR selects another folder.",
            ) from exc
