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
from harness.support.sqlite import begin_immediate, handle_signals, is_interrupted, migrate
from skills.corpus.db import damage
from skills.corpus.db.schema import MIGRATIONS

NAME = "corpus.db"
BUSY_SECONDS = 30.0
"""Timeout for the transaction of another process."""
_FIRST = "m001_papers"
"""The name of the first migration in every corpus from before 0.1.0."""
_OTHER_FILE = "--db selects another file, which is created if it does not exist."
_UNUSABLE_HINT = (
    "Is another process writing to it, is its disk full, or do you lack write permission for it or "
    "its folder? --db selects another file."
)


def default_path(settings: Settings) -> Path:
    """Return the path of the corpus without `--db`: beside the run log, not in the cache."""
    return settings.data_dir / NAME


def database(call: Call) -> Path:
    """Return the path of the corpus for a run: `--db`, or else the user's own corpus."""
    return call.options.db or default_path(call.settings)


def locks(path: Path) -> Path:
    """Return the folder for the locks of jobs on a corpus: beside it, for all its users."""
    return path.with_name(f".{path.name}.jobs")


@contextlib.contextmanager
def open_corpus(path: Path, *, must_exist: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the database at `path`, create or migrate it if needed, and close it at the end.

    Args:
        must_exist: raise an error if the file does not exist, for commands that only read.

    Raises:
        InputError: the file is missing although it must exist, is damaged, is not a corpus
            database, or was created by a newer version or by a version before 0.1.0; it is
            unchanged.
        OutputError: the file cannot be created or written: it is a folder, permission is denied,
            the disk is full, or another process blocks it for `BUSY_SECONDS`. Such errors are also
            raised within the block.
    """
    if path.is_dir():
        raise OutputError(
            "is a folder, from which a corpus is only read",
            where=str(path),
            hint=f"`/corpus add {path} --db corpus.db` copies its parts to a database, and --db "
            "selects it.",
        )
    if must_exist and not path.is_file():
        raise InputError(
            "there is no corpus yet",
            where=str(path),
            hint="`/annotate TABLE` or `/corpus add TABLE` creates one; --db selects another file.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot be created: {exc.strerror or exc}", where=str(path)) from exc
    with _translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        with contextlib.closing(connection):
            handle_signals(connection)
            _prepare(connection, path)
            yield connection


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block as a transaction; a nested block is part of the outer transaction.

    The write lock is acquired at the beginning: a transaction that begins with a read cannot wait
    for it.
    """
    if db.in_transaction:
        yield
        return
    try:
        begin_immediate(db, BUSY_SECONDS)
        yield
    except BaseException:
        db.rollback()
        raise
    db.commit()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _refuse_foreign(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    # Safe if the process is killed; in a power failure, the last rows may be lost.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.row_factory = sqlite3.Row
    # No implicit transactions, since `transaction` could not begin a transaction within one.
    connection.isolation_level = None
    migrate(connection, MIGRATIONS)


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise InputError for a database of another program or version, without writing to it."""
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
            hint="Export it with that version: `/corpus export corpus.jsonl`. Then "
            f"`/corpus add corpus.jsonl` adds the annotations to a new corpus. {_OTHER_FILE}",
        )
    if unknown := sorted(name for name in applied if name > last):
        raise InputError(
            f"was created by a newer version of the harness: {unknown[0]} is not known here",
            where=str(path),
            hint="Update the harness; --db selects another file.",
        )


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate errors of the file or its disk; errors of statements pass through."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if is_interrupted(exc):
            raise KeyboardInterrupt from exc
        code = getattr(exc, "sqlite_errorcode", None)  # None for a text that is not UTF-8
        if code in (None, sqlite3.SQLITE_ERROR):
            if found := (str(exc) if code is None else damage.find(path)):
                raise damage.error(path, found) from exc
            raise
        raise OutputError(
            f"the corpus cannot be used: {exc}", where=str(path), hint=_UNUSABLE_HINT
        ) from exc
    except sqlite3.DatabaseError as exc:
        if type(exc) is not sqlite3.DatabaseError:  # subclasses are errors of statements
            raise
        raise damage.error(path, str(exc)) from exc


def open_temporary(*schema: str) -> sqlite3.Connection:
    """Return a new database with these tables, which is deleted when it is closed.

    SQLite keeps a database without a name in memory until its cache is full, and then in a file in
    $SQLITE_TMPDIR, /var/tmp or /tmp. Transactions are disabled, since they take time. Any thread
    may close the database, for the garbage collector. `execute` raises an OutputError if the file
    cannot be written.
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
