"""Read the citation keys of Better BibTeX, which has a database of its own before Zotero 8."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from harness.errors import InputError
from skills.corpus.tables.zotero import snapshot

KEYS_FILE = "better-bibtex.sqlite"


def load_citation_keys(db: sqlite3.Connection, path: Path) -> None:
    """Create the table `citationKeys`, with the keys of the items in the library.

    It is empty without Better BibTeX, and if its database cannot be read: the items are read all
    the same.

    Args:
        path: that of Zotero's database, beside which it is.
    """
    db.execute("CREATE TEMP TABLE citationKeys (itemID INTEGER PRIMARY KEY, citationKey TEXT)")
    with contextlib.suppress(InputError, sqlite3.DatabaseError):
        db.executemany("INSERT OR IGNORE INTO citationKeys VALUES (?, ?)", _keys(path))


def _keys(path: Path) -> list[tuple[int, str]]:
    beside = path.with_name(KEYS_FILE)
    if not beside.is_file():
        return []
    with tempfile.TemporaryDirectory(prefix="zotero-") as folder:
        copy = Path(folder) / KEYS_FILE
        snapshot.copy_settled(beside, copy)
        with contextlib.closing(sqlite3.connect(copy)) as db:
            return db.execute("SELECT itemID, citationKey FROM citationkey").fetchall()
