"""Open a copy of Zotero's database, which Zotero locks while it runs.

The database itself is never opened with SQLite, which would have to write files next to it.
Instead, the file and the journals are copied without a lock. The copy is consistent if no file
changed during the copying: Zotero writes the journal before the database, so that the files
together always contain a complete state, even during a transaction. SQLite recovers the copy from
the journals, as it recovers a database after a crash.

Before Zotero 8, the plugin Better BibTeX stores the citation keys in a separate database.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError, OutputError
from harness.support.text_input import reading, regular_file, shown, unreadable

FILE = "zotero.sqlite"
OLDEST_SCHEMA = 81
"""The schema version of Zotero 5.0; older databases have other tables."""
NEWEST_COMPATIBILITY = 9
"""The compatibility number of Zotero 10.

Zotero increases the number when older programs can no longer read the data.
"""

_MAGIC = b"SQLite format 3\0"
_SUFFIXES = ("", "-wal", "-journal")
_TRIES = 20
_SETTLED = 0.1
"""Seconds that must pass after the last change of a file before a copy begins.

After a shorter time, another change could have the same modification time and remain unnoticed.
"""

_State = tuple[tuple[int, int, int] | None, ...]
KEYS_FILE = "better-bibtex.sqlite"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a temporary copy of Zotero's database.

    Raises:
        InputError: the database cannot be read, does not stop changing, is damaged, or belongs to
            an unsupported version of Zotero.
        OutputError: the disk is too full for the copy.
    """
    path = regular_file(path).resolve()  # the journals are next to the target of a link
    with reading(path), path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _not_zotero(path)
    with tempfile.TemporaryDirectory(prefix="zotero-") as folder:
        copy = Path(folder) / FILE
        copy_settled(path, copy)
        db = sqlite3.connect(copy)
        db.text_factory = lambda text: text.decode(errors="replace")
        try:
            _check(db, path)
            yield db
        # A UnicodeDecodeError is raised if SQLite's message quotes a name that is not UTF-8.
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
            raise _damaged(path, str(exc)) from exc
        finally:
            db.close()


def copy_settled(path: Path, copy: Path) -> None:
    """Copy a database and its journals; if a file changes meanwhile, wait and try again.

    Raises:
        InputError: the database cannot be read, or did not stop changing.
        OutputError: the disk is too full for the copy.
    """
    for _ in range(_TRIES):
        before = _state(path)
        newest = max(file[2] for file in before if file) / 1e9
        if 0 <= time.time() - newest < _SETTLED:
            time.sleep(_SETTLED)
            continue
        for suffix in _SUFFIXES:
            _copy_file(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        if _state(path) == before:
            return
    raise InputError(
        "did not stop changing, so that it cannot be copied",
        where=shown(path),
        hint="Wait until Zotero has synchronized, or close Zotero, and repeat the line.",
    )


def _copy_file(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:  # there is no such journal at present
        target.unlink(missing_ok=True)
    except PermissionError as exc:
        hint = "Close Zotero, which locks the file, and repeat the line."
        raise InputError("cannot be read", where=shown(source), hint=hint) from exc
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise unreadable(source, exc) from exc
        raise OutputError(
            "there is no space for a copy of Zotero's database",
            where=str(target.parent),
            hint="The environment variable TMPDIR selects the folder for temporary files.",
        ) from exc


def _state(path: Path) -> _State:
    """Return the inode, size and modification time of the database and of each journal.

    A missing journal is represented by None.
    """
    found: list[tuple[int, int, int] | None] = []
    for suffix in _SUFFIXES:
        try:
            status = path.with_name(path.name + suffix).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError as exc:
            if not suffix:
                raise unreadable(path, exc) from exc
            found.append(None)
    return tuple(found)


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Raise an InputError if the database is damaged, or its Zotero version is not supported."""
    [(problem,)] = db.execute("PRAGMA quick_check(1)").fetchall()
    if problem != "ok":
        raise _damaged(path, problem)
    try:
        versions = dict(db.execute("SELECT schema, version FROM version").fetchall())
        data, compatibility = int(versions["userdata"]), int(versions.get("compatibility", 0))
    except (sqlite3.OperationalError, KeyError, ValueError, TypeError) as exc:
        raise _not_zotero(path) from exc
    if data < OLDEST_SCHEMA or compatibility > NEWEST_COMPATIBILITY:
        age = "an older" if data < OLDEST_SCHEMA else "a newer"
        raise InputError(
            f"is of {age} Zotero (schema {data}, compatibility {compatibility})",
            where=shown(path),
            hint="Zotero 5 to 10 can be read; export the library of another version as CSL-JSON.",
        )


def _damaged(path: Path, problem: str) -> InputError:
    return InputError(
        f"is damaged ({problem.splitlines()[-1]})",
        where=shown(path),
        hint=f"Copy Zotero's backup {FILE}.bak to a new folder as {FILE}, and name that folder.",
    )


def _not_zotero(path: Path) -> InputError:
    return InputError(
        "is not a database of Zotero",
        where=shown(path),
        hint=f"Name Zotero's data directory, which contains {FILE} (Settings > Advanced).",
    )


def load_citation_keys(db: sqlite3.Connection, path: Path) -> None:
    """Create the temporary table `citationKeys` with the citation keys of Better BibTeX.

    The table stays empty if Better BibTeX has no database, or if its database cannot be read.

    Args:
        path: the path of Zotero's database; the database of the keys is in the same folder.
    """
    db.execute("CREATE TEMP TABLE citationKeys (itemID INTEGER PRIMARY KEY, citationKey TEXT)")
    beside = path.with_name(KEYS_FILE)
    if not beside.is_file():
        return
    with (
        contextlib.suppress(InputError, sqlite3.DatabaseError),
        tempfile.TemporaryDirectory(prefix="zotero-") as folder,
    ):
        copy = Path(folder) / KEYS_FILE
        copy_settled(beside, copy)
        with contextlib.closing(sqlite3.connect(copy)) as own:
            keys = own.execute("SELECT itemID, citationKey FROM citationkey").fetchall()
        db.executemany("INSERT OR IGNORE INTO citationKeys VALUES (?, ?)", keys)
