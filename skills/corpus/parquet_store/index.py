"""Read the index of a folder of parts: a list of parts, the full text of moves, and facts.

A part is a .parquet file in the format of `save to FILE.parquet`. A part that a job writes has the
additional column `error`, which is "" for an annotation and JSON for a failure. The files of the
index are:

    FOLDER/.index/FRAMEWORK/index.db          parts, and full text (FTS5 without copies of texts)
                            facts-N.parquet   facts about rows of some parts, such as the year

The id of a row is `Part.first` of its part plus the position of the row in the part, from 0. The
rowid of a move in the full text is the id of its row times the number of moves in the framework,
plus the position of the move. Rows of a removed or changed part remain in the full text, but
searches do not return these rows.

The number of a paper is the id of its first row. The table `repeats` states the number of the paper
and the flag `current` of each row that is not the first row of its paper or is not current. A row
that is not listed is the first row of its paper, and current.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.support.sqlite import handle_signals, is_interrupted
from skills.corpus.db.schema import TOKENIZER
from skills.corpus.tables.columns import ERROR
from skills.corpus.tables.parquet_files import (
    OBJECTS,
    PAPER_COLUMNS,
    SUFFIX,
    ParquetReader,
    is_part,
)
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS, IdField

FOLDER, NAME = ".index", "index.db"
VERSION = "1"
BUSY_SECONDS = 30.0
UNKNOWN_YEAR = -1
MOST_ROW = 100_000
"""Maximum size in bytes of the texts in a row, since DuckDB unpacks 2,048 rows together."""

# The table `about` contains, among others, "given" (the last id that was given to a part), "last"
# (the id of the last part that readers see) and "past" (the id for the next row).
_SCHEMA = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, first INTEGER NOT NULL, rows INTEGER NOT NULL,
    id_column TEXT NOT NULL, facts TEXT NOT NULL, refused TEXT NOT NULL
);
CREATE TABLE years (year INTEGER PRIMARY KEY);
CREATE TABLE repeats (id INTEGER PRIMARY KEY, paper INTEGER NOT NULL, current INTEGER NOT NULL);
CREATE VIRTUAL TABLE moves_fts USING fts5 (
    text, facets, content='', tokenize='{TOKENIZER}'
);
"""


@dataclass(frozen=True, slots=True)
class File:
    """The file of a part; a new size or modification time means that the part has changed."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part in the index, or a part to be indexed, which has no ids yet.

    Attributes:
        file: the path, and the size and modification time that the file had when it was indexed.
        rows: number of rows.
        id_column: the name of the first column, which contains the ids of papers.
        facts: the name of the file with the facts about the rows, or "" if there is no file.
        refused: the reason why the part cannot be read, or "".
        id: the id of the part.
        first: the id of the first row.
        has_errors: True if a part to be indexed has the column "error". The index does not store
            this value.
    """

    file: File
    rows: int = 0
    id_column: str = ""
    facts: str = ""
    refused: str = ""
    id: int = 0
    first: int = 0
    has_errors: bool = False

    @property
    def id_field(self) -> IdField:
        """The `Paper.id_field` of the papers in the part."""
        return next((name for name in ID_FIELDS if name == self.id_column), "id")

    @property
    def path(self) -> Path:
        """The path of the file as DuckDB's column `filename` contains it."""
        return self.file.path.absolute()


@dataclass(frozen=True, slots=True)
class Index:
    """An open index.

    Attributes:
        db: the database of the index.
        folder: the folder of the parts.
        place: the folder of the index.
        parts: the readable parts that have not changed since they were indexed, ordered by row ids.
        new: the names of parts that are new or have changed.
        refused: the reason why a part could not be read, by the name of the part.
        gone: the names of indexed parts that no longer exist.
    """

    db: sqlite3.Connection
    folder: Path
    place: Path
    framework: Framework
    parts: tuple[Part, ...]
    new: tuple[str, ...]
    refused: Mapping[str, str]
    gone: tuple[str, ...]

    def part_of(self, row_id: int) -> Part | None:
        """Return the readable part that contains the row with this id, or None."""
        at = bisect.bisect_right(self.parts, row_id, key=lambda part: part.first) - 1
        part = self.parts[at] if at >= 0 else None
        return part if part and row_id < part.first + part.rows else None


def place_of(folder: Path, framework: Framework) -> Path:
    """Return the folder of the index for a framework."""
    return folder / FOLDER / framework.name


@contextlib.contextmanager
def open_index(folder: Path, framework: Framework) -> Iterator[Index]:
    """Yield the index of a folder of parts, open for reading during the block.

    Raises:
        InputError: the folder has no readable part; or the index does not exist, is damaged, or is
            not current (see `is_current`).
    """
    files = find_files(folder)
    place = place_of(folder, framework)
    missing = InputError(
        f"has no index of annotations by this version of the framework {framework.name}",
        where=str(folder),
        hint=f"`/corpus index {folder}` creates the index, and reads each part once.",
    )
    if not (place / NAME).is_file():
        raise missing
    try:
        with contextlib.closing(_connect(place, mode="ro")) as db:
            if not is_current(db, framework):
                raise missing
            [(last,)] = db.execute("SELECT CAST(value AS INTEGER) FROM about WHERE name = 'last'")
            known = {part.path.name: part for part in known_parts(db, folder) if part.id <= last}
            same = {name: part for name, part in known.items() if files.get(name) == part.file}
            index = Index(
                db,
                folder,
                place,
                framework,
                tuple(part for part in same.values() if not part.refused),
                tuple(name for name in files if name not in same),
                {name: part.refused for name, part in same.items() if part.refused},
                tuple(name for name in known if name not in files),
            )
            if not index.parts:
                raise InputError(
                    "has no readable part that is in the index",
                    where=str(folder),
                    hint=f"`/corpus index {folder}` adds new parts, and names parts that "
                    "cannot be read.",
                )
            _prepare(index)
            yield index
    except sqlite3.DatabaseError as exc:
        if is_interrupted(exc):
            raise KeyboardInterrupt from exc
        raise InputError(
            f"the index cannot be read: {exc}",
            where=str(place),
            hint=f"Delete this folder; `/corpus index {folder}` creates the index again.",
        ) from exc


@contextlib.contextmanager
def create_index(folder: Path, framework: Framework) -> Iterator[sqlite3.Connection]:
    """Yield a connection for writing to the database of an index, which is created if missing."""
    place = place_of(folder, framework)
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_connect(place, mode="rwc")) as db:
        # With a write-ahead log, the index can be read while it is written. The log is removed at
        # the end, since readers of a database with a log need write permission for the folder.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -100000")
        if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            db.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
            numbers = {"given": "0", "last": "0", "past": "1"}
            described = {"version": VERSION, **numbers, **_identity(framework)}
            db.executemany("INSERT INTO about VALUES (?, ?)", described.items())
            # With a larger hash table, FTS5 writes larger segments, and merges them less often.
            db.execute("INSERT INTO moves_fts (moves_fts, rank) VALUES ('hashsize', 67108864)")
        yield db
        # SQLite cannot remove the log while a reader has the database open.
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("PRAGMA journal_mode = DELETE")


def is_current(db: sqlite3.Connection, framework: Framework) -> bool:
    """Return True if an index has the format `VERSION` and the moves of `framework`.

    The index must also have the text of `framework` for moves that are not stated.
    """
    about = dict(db.execute("SELECT name, value FROM about").fetchall())
    return {"version": VERSION, **_identity(framework)}.items() <= about.items()


def known_parts(db: sqlite3.Connection, folder: Path) -> list[Part]:
    """Return all parts in the index of a folder, ordered by row ids."""
    rows = db.execute(
        "SELECT name, size, mtime_ns, rows, id_column, facts, refused, id, first FROM parts"
        " ORDER BY first, id"
    )
    return [Part(File(folder / row[0], *row[1:3]), *row[3:]) for row in rows]


def _identity(framework: Framework) -> dict[str, str]:
    return {"moves": json.dumps(framework.names), "not_stated": framework.not_stated}


def _connect(place: Path, mode: str) -> sqlite3.Connection:
    uri = f"{(place / NAME).resolve().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    db.row_factory = sqlite3.Row
    handle_signals(db)
    return db


def _prepare(index: Index) -> None:
    """Create the temporary table `live` with the ranges of the row ids in readable parts."""
    ranges = [(part.first, part.first + part.rows) for part in index.parts if part.rows]
    index.db.execute("CREATE TEMP TABLE live (first INTEGER PRIMARY KEY, past INTEGER NOT NULL)")
    index.db.executemany("INSERT INTO live VALUES (?, ?)", ranges)


def find_files(folder: Path) -> dict[str, File]:
    """Return the parts in a folder by name, sorted by name.

    Raises:
        InputError: the folder contains no part, or cannot be read.
    """
    try:
        paths = sorted(one for one in folder.iterdir() if is_part(one.name) and one.is_file())
        statuses = [(path, path.stat()) for path in paths]
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror or exc}", where=str(folder)) from exc
    if not statuses:
        raise InputError(
            f"is a folder without parts ({SUFFIX} files)",
            where=str(folder),
            hint="`/annotate TABLE save to FOLDER/NAME.parquet` writes a part; "
            "`/corpus export NAME.parquet` writes a whole corpus.",
        )
    return {path.name: File(path, one.st_size, one.st_mtime_ns) for path, one in statuses}


def new_part(file: File, framework: Framework) -> Part:
    """Return a part to be indexed, described by the metadata of its file.

    Raises:
        InputError: the part is incomplete, lacks a column, has annotations by another framework, or
            would take too much memory.
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    path = file.path
    reader = ParquetReader(path)
    footer = reader.footer()
    schema = footer.schema.to_arrow_schema()
    name = (schema.metadata or {}).get(b"framework", b"").decode()
    texts = {field.name for field in schema if pa.types.is_string(field.type)}
    wanted = (*schema.names[:1], *PAPER_COLUMNS, *OBJECTS, *framework.names)
    missing = [one for one in wanted if one not in texts]
    if name and name != framework.name:
        raise InputError(
            f"has annotations by the framework {name}, not {framework.name}", where=path.name
        )
    if not name or missing:
        detail = f": it has no text column {missing[0]}" if missing else ""
        raise InputError(
            "is not a table of annotations as `save to FILE.parquet` writes it for this version "
            f"of the framework {framework.name}{detail}",
            where=path.name,
        )
    groups = range(footer.num_row_groups)
    try:
        size = max((reader.row_bytes(footer, one, schema.names) for one in groups), default=0)
    except ValueError as exc:
        raise InputError(f"is not a complete Parquet file ({exc})", where=path.name) from exc
    if size > MOST_ROW:
        reason = f"the texts of a row have {size:,} bytes, more than {MOST_ROW:,}"
        raise InputError(f"would take too much memory: {reason}", where=path.name)
    return Part(file, footer.num_rows, schema.names[0], has_errors=ERROR in texts)
