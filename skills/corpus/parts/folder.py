"""Find the parts in a folder: .parquet files as `save to FILE.parquet` writes them.

A part may have more columns, as those that a cluster writes: `error` is "" for an annotation, and
JSON for a paper whose annotation failed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from skills.corpus.tables.columns import ERROR
from skills.corpus.tables.parquet_files import SUFFIX, is_part
from skills.nanda.framework import Framework
from skills.nanda.paper import ID_FIELDS

PAPER_COLUMNS = ("title", "authors", "published", "categories", "abstract")
OBJECTS = ("anchors", "checks", "provenance")
"""Columns of JSON. The confidences are JSON too in earlier parts, which have no suggestions."""


@dataclass(frozen=True, slots=True)
class File:
    """A part as it was found; another size or time means that it was written again."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What the end of a part declares.

    Attributes:
        id_column: the name of the column of ids, the first one.
        has_errors: True if it has the column `ERROR`.
    """

    rows: int
    id_column: str
    has_errors: bool

    @property
    def id_field(self) -> str:
        """The name under which the ids are stored."""
        return self.id_column if self.id_column in ID_FIELDS else "id"


def find_files(folder: Path) -> dict[str, File]:
    """Return the parts of a folder by name, in the order of their names.

    Raises:
        InputError: there is none, or the folder cannot be read.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_part(entry.name) and entry.is_file():
                    known = entry.stat()
                    found.append(File(entry.name, known.st_size, known.st_mtime_ns))
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror or exc}", where=str(folder)) from exc
    if not found:
        raise InputError(
            f"is a folder without parts, which are {SUFFIX} files",
            where=str(folder),
            hint="`/annotate TABLE save to FOLDER/NAME.parquet` writes one; "
            "`/corpus export NAME.parquet` writes a whole corpus.",
        )
    return {file.name: file for file in sorted(found, key=lambda file: file.name)}


def layout(path: Path, framework: Framework) -> Layout:
    """Return the layout of a part with annotations by `framework`.

    Raises:
        InputError: it is not whole, has other columns, or has annotations by another framework.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        footer = pq.read_metadata(path)
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as exc:
        first = (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
        raise InputError(f"is not a whole Parquet file ({first})", where=path.name) from exc
    name = (schema.metadata or {}).get(b"framework", b"").decode()
    texts = {field.name for field in schema if pa.types.is_string(field.type)}
    missing = [one for one in (*PAPER_COLUMNS, *OBJECTS) if one not in texts]
    if not name or missing or not schema.names or schema.names[0] not in texts:
        what = f": it has no column {missing[0]} of text" if missing else ""
        raise InputError(
            f"is not a table of annotations as `save to FILE.parquet` writes it{what}",
            where=path.name,
        )
    if name != framework.name:
        raise InputError(
            f"has annotations by the framework {name}, not {framework.name}", where=path.name
        )
    if lacking := [move for move in framework.names if move not in texts]:
        raise InputError(
            f"was made with another version of the framework {name}: it has no move {lacking[0]}",
            where=path.name,
        )
    return Layout(footer.num_rows, schema.names[0], ERROR in texts)
