"""Detect damage of a corpus database and of its records, and rename a damaged database."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError, OutputError, UsageError
from harness.support.sqlite import integrity_fault, read_schema
from skills.corpus.db.rows import stored_json, stored_record
from skills.corpus.records import IMPORT, key_of
from skills.nanda.framework import RESERVED, sha256_of
from skills.nanda.paper import abstract_digest

STORED: Mapping[str, Mapping[str, Callable[[str], object]]] = {
    "annotations": {"record": stored_record},
    "runs": {"settings": stored_json, "summary": stored_json},
    "votes": {"answers": stored_json},
    "judge_forms": {"measured": stored_json},
    "calibrations": {"thresholds": stored_json},
    "measures": {"measured": stored_json},
}
"""The functions that parse the JSON values of columns, by table and column."""
SHOWN = 200
"""Maximum number of characters that an error quotes from SQLite's message.

The message may contain the schema of a table.
"""
COMPANIONS = ("", "-wal", "-shm")
"""Suffixes of the file names of an SQLite database, its log and its shared memory."""


def find(path: Path) -> str:
    """Return a description of the first damage in a database, or "" if there is none.

    SQLite checks the structure of the file. Then all stored values are read, and the values of the
    columns in `STORED` are parsed. The file is not changed.

    Raises:
        OutputError: the file cannot be read, since another process blocks it or permission is
            denied.
    """
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            read_schema(db)
            if found := integrity_fault(db):
                return found
            _read_all(db)
            return ""
    except sqlite3.OperationalError as exc:
        code = getattr(exc, "sqlite_errorcode", None)  # not set if a text is not UTF-8
        if code in (None, sqlite3.SQLITE_ERROR):
            return str(exc)
        raise OutputError(
            f"the corpus cannot be checked: {exc}",
            where=str(path),
            hint="Is another process writing to the file, or do you lack read permission for the "
            "file or its folder?",
        ) from exc
    except sqlite3.DatabaseError as exc:
        return str(exc)


def error(path: Path, found: str) -> InputError:
    """Return an InputError for a damaged file, with a description of the damage."""
    return InputError(
        f"is not a corpus database, or damaged: {' '.join(found.split())[:SHOWN]}",
        where=str(path),
        hint=f"The file is not changed. `/corpus set-aside --db {path}` renames the file, so that "
        "the next command begins a new corpus; `sqlite3 FILE .recover` recovers the readable "
        "rows. --db selects another file.",
    )


def set_aside(path: Path) -> tuple[Path, str]:
    """Rename a damaged database; return the new path and a description of the damage.

    Raises:
        InputError: the file does not exist, or is a folder.
        UsageError: the database is not damaged.
        OutputError: the file cannot be checked or renamed.
    """
    if path.is_dir():
        raise InputError(
            "is a folder, not a database",
            where=str(path),
            hint=f"`/corpus index {path}` names the parts that cannot be read.",
        )
    if not path.is_file():
        raise InputError("there is no such file", where=str(path))
    found = find(path)
    if not found:
        raise UsageError(
            "is not damaged: SQLite finds no fault, and every stored value can be read",
            where=str(path),
            hint="`/corpus verify` checks that annotations match their content keys.",
        )
    number = 1
    while any(_aside(path, number, suffix).exists() for suffix in COMPANIONS):
        number += 1
    try:
        for suffix in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(_aside(path, number, suffix))
    except OSError as exc:
        raise OutputError(f"cannot be renamed: {exc.strerror or exc}", where=str(path)) from exc
    return _aside(path, number, ""), found


def _read_all(db: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError if a stored text is not UTF-8, or a JSON value is invalid."""
    db.row_factory = sqlite3.Row
    # Virtual tables are omitted: the full-text indexes store no copies of the texts.
    tables = db.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE%'").fetchall()
    for (table,) in tables:
        readers = STORED.get(table, {})
        for row in db.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 a name from the schema
            for column, read in readers.items():
                if row[column] is not None:
                    read(row[column])


def _aside(path: Path, number: int, suffix: str) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}{suffix}")


def verify(record: Mapping[str, Any] | str, abstract: str, key: str | None = None) -> list[str]:
    """Check a stored record, and return a message for each mismatch.

    Args:
        record: the record of an annotation, or its JSON.
        abstract: the abstract that is stored with the record.
        key: the content key that is stored next to the record, or None.
    """
    wrong = []
    try:
        record = json.loads(record) if isinstance(record, str) else record
        provenance = record["provenance"]
        if provenance["input"]["sha256"] != abstract_digest(abstract):
            wrong.append("it was made from another abstract")
        if provenance["key"] != key_of(provenance):
            wrong.append("its key does not match its provenance")
        if provenance["backend"] == IMPORT:
            moves = {name: text for name, text in record.items() if name not in RESERVED}
            if sha256_of(moves) != provenance["moves_sha256"]:
                wrong.append("its moves differ from the imported moves")
        if key not in (None, provenance["key"]):
            wrong.append("the key in its row differs from the key in its record")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        return [f"its record is damaged ({type(exc).__name__})"]
    return wrong
