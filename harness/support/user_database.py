"""A SQLite file of the user, which nobody else may read and several processes may use at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.support.sqlite_migrations import Migration, migrate


class UserDatabase:
    """Opens one SQLite file, with mode 0600 and WAL.

    Args:
        path: created with its folder if it does not exist.
        prepare: called once with the first connection, after the migrations.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        prepare: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._prepare = prepare
        self._ready = False

    def connect(self) -> sqlite3.Connection:
        """Return a new connection, which commits each statement outside of a transaction.

        Raises:
            OSError: the file cannot be created.
            sqlite3.Error: it is not a usable database.
        """
        if not self._ready:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            # Safe if the process is killed; the last rows may be lost in a power failure.
            db.execute("PRAGMA synchronous = NORMAL")
            if not self._ready:
                db.execute("PRAGMA journal_mode = WAL")
                migrate(db, self._migrations)
                if self._prepare is not None:
                    self._prepare(db)
                self._ready = True
        except BaseException:
            db.close()
            raise
        return db


def storable(text: str) -> str:
    """Escape lone surrogates of file names and replies, which SQLite refuses."""
    return text.encode(errors="backslashreplace").decode()
