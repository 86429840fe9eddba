"""Read Parquet files as one table, and write annotations as a Parquet file.

A table is a file, or several files with the same columns:

    papers/             the .parquet files of a folder, even if the folder is named *.parquet
    "parts/*.parquet"   the files that match a pattern; ** matches any number of folders

Several files are read in the order of their names. In a folder, names that begin with "." or "_"
are ignored, since other programs use them for incomplete files and metadata.
"""

from __future__ import annotations

import bisect
import glob
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from harness._version import __version__
from harness.errors import InputError
from harness.support.text_input import at_home, place, reading, regular_file, shown
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import CONFIDENCE, SECTIONS, SUGGESTIONS, UNCERTAIN, Reader
from skills.corpus.tables.saved_tables import name_of_ids
from skills.corpus.tables.text_tables import compact_json
from skills.nanda.confidence import confidence_of, uncertain_moves
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

SUFFIX = ".parquet"
ROW_GROUP = 1000
"""Number of rows in a written row group: about 5 MB with provenance, uncompressed."""
PAPER_COLUMNS = ("title", "authors", "published", "categories", "abstract")
OBJECTS = ("anchors", "checks", "provenance")
"""Columns of JSON objects that every part has (without `SUGGESTIONS`, which old parts lack)."""
_WRITTEN = ("anchors", SUGGESTIONS, "checks", "provenance")
_EXTRAS = ("support", CONFIDENCE, UNCERTAIN, *_WRITTEN)
BATCH_ROWS, BATCH_BYTES = 256, 2_000_000
"""Maximum number of rows that are read together, and maximum number of bytes of these rows."""
MOST_PAGE, MOST_PAGES = 8_000_000, 24_000_000
"""Maximum bytes of a decompressed page, and of the sum of the largest pages of all read columns.

The second maximum also applies to the estimated memory of each column of lists.
"""
ITEM_BYTES = 8
"""Assumed bytes of memory for a value in a list, in addition to its text."""
_HEADER = 1 << 12, 1 << 20
"""Numbers of bytes that are read to parse a page header, in the first and second attempt."""
BUFFER_BYTES = 1 << 16
"""Number of bytes that pyarrow buffers for each column instead of reading whole columns."""


def is_part(name: str) -> bool:
    """Return True for a name that ends with .parquet and does not begin with "." or "_"."""
    return name.lower().endswith(SUFFIX) and name[0] not in "._"


def find_files(path: Path) -> list[Path]:
    """Return the files of a folder or a pattern, in the order of their names.

    Raises:
        InputError: no file is found, or a file is empty or cannot be read.
    """
    place = at_home(path)
    with reading(path):
        if place.is_dir():
            found = [file for file in place.iterdir() if is_part(file.name) and file.is_file()]
            problem = f"is a folder without {SUFFIX} and .pdf files, and without zotero.sqlite"
        else:
            # Path.glob does not accept absolute patterns.
            names = {*glob.glob(str(place), recursive=True)}  # noqa: PTH207
            found = [file for file in map(Path, names) if file.is_file()]
            problem = "no file matches this pattern"
    if not found:
        hint = f"Name a table, a folder of Parquet files, or a pattern such as parts/*{SUFFIX}."
        raise InputError(problem, where=shown(path), hint=hint)
    return [regular_file(file) for file in sorted(found)]


class ParquetFiles(Reader):
    """Reads several files with the same columns; positions are counted across all files."""

    unit = "row"

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        super().__init__(path)
        self._parts = [ParquetReader(file) for file in files]
        footers = [part.footer() for part in self._parts]
        self._schema: pa.Schema = footers[0].schema.to_arrow_schema()
        for part, footer in zip(self._parts[1:], footers[1:], strict=True):
            self._check(part.path, footer.schema.to_arrow_schema())
        counts = (footer.num_rows for footer in footers)
        self._begins = list(itertools.accumulate(counts, initial=0))[:-1]

    def header(self) -> tuple[str, ...]:
        return tuple(self._schema.names)

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for begin, part in zip(self._begins, self._parts, strict=True):
            for position, row in part.rows(names):
                yield begin + position, row

    def located(self, position: int) -> tuple[Path, int]:
        index = bisect.bisect_left(self._begins, position) - 1
        return self._parts[index].path, position - self._begins[index]

    def _check(self, path: Path, schema: pa.Schema) -> None:
        """Check that a file has the same columns as the first file, in any order.

        Raises:
            InputError: the columns differ, or their types do and neither type is "null".
        """
        first = shown(self._parts[0].path)
        expected, found = ({field.name: field for field in s} for s in (self._schema, schema))
        hint = "Files that are read together must have the same columns; read this file alone."
        for name in (*expected, *found):
            if name not in found or name not in expected:
                problem = f"{'lacks the' if name in expected else 'has another'} column {name!r}"
                raise InputError(f"{problem}: {first} differs", where=shown(path), hint=hint)
            one, other = expected[name].type, found[name].type
            # a column without values has the type "null"
            if one != other and "null" not in (str(one), str(other)):
                raise InputError(
                    f"has {other} in the column {name!r}, and {first} has {one}",
                    where=shown(path),
                    hint=hint,
                )


class ParquetReader(Reader):
    unit = "row"

    def header(self) -> tuple[str, ...]:
        return tuple(self.footer().schema.to_arrow_schema().names)

    def footer(self) -> pq.FileMetaData:
        """Return the metadata at the end of the file, such as columns and number of rows.

        Raises:
            InputError: the file is incomplete, or has another format.
        """
        import pyarrow as pa

        try:
            with self.open_file() as file:
                return file.metadata
        except (pa.ArrowException, OSError) as exc:
            raise InputError(
                f"is not a Parquet file ({first_line(exc)})",
                where=shown(self.path),
                hint="Is the file complete, and is its suffix right?",
            ) from exc

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        import pyarrow as pa

        position = 0
        try:
            with self.open_file() as file:
                for number in range(file.metadata.num_row_groups):
                    for batch in self.batches(file, number, names):
                        columns = [_values(column) for column in batch.columns]
                        for values in zip(*columns, strict=True):
                            position += 1
                            yield position, dict(zip(batch.schema.names, values, strict=True))
        except (pa.ArrowException, OSError, ValueError, OverflowError) as exc:
            raise InputError(
                f"some of the rows from here on cannot be read ({first_line(exc)})",
                where=place(self.path, self.unit, position + 1),
                hint="Is the file complete? Save the file again.",
            ) from exc

    def open_file(self) -> pq.ParquetFile:
        """Return the open file, from which `BUFFER_BYTES` of each column are read at a time."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path, buffer_size=BUFFER_BYTES, pre_buffer=False)

    def batches(
        self, file: pq.ParquetFile, number: int, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a row group in batches, which are smaller if the texts are long.

        Raises:
            InputError, ValueError: as for `row_bytes`.
        """
        size = BATCH_BYTES // max(1, self.row_bytes(file.metadata, number, names))
        size = max(1, min(BATCH_ROWS, size))
        yield from file.iter_batches(size, [number], columns=list(names), use_threads=False)

    def row_bytes(self, metadata: pq.FileMetaData, number: int, names: Sequence[str]) -> int:
        """Check the pages of a row group, and return the estimated bytes of the texts of a row.

        Args:
            number: the index of the row group.
            names: the columns to read.

        Raises:
            InputError: the decompressed pages or a column of lists would take too much memory.
            ValueError: the header of a page is damaged.
        """
        group, total, widths = metadata.row_group(number), 0, 0
        with self.path.open("rb") as file:
            for chunk in map(group.column, range(group.num_columns)):
                name, items, width = chunk.path_in_schema, 0, 0
                if name.partition(".")[0] not in names:
                    continue
                sizes: dict[bool, int] = {}
                for is_dictionary, size, values, longest in _pages(file, chunk):
                    sizes[is_dictionary] = max(size, sizes.get(is_dictionary, 0))
                    items, width = items + values, max(width, longest)
                total, widths = total + sum(sizes.values()), widths + width
                lists = items * (width + ITEM_BYTES) if "." in name else 0
                if max(sizes.values(), default=0) > MOST_PAGE or max(total, lists) > MOST_PAGES:
                    raise InputError(
                        "would take too much memory when the column "
                        f"{name!r} of row group {number + 1} is unpacked",
                        where=shown(self.path),
                        hint="Save the file with smaller pages and row groups.",
                    )
        return widths


def _pages(file: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[tuple[bool, int, int, int]]:
    """Yield the sizes of each page of a column, as stated in the page headers.

    pyarrow allocates the memory that a page header states. The metadata at the end of the file
    contains only the sums of all pages.

    Yields:
        True for a page with a dictionary, the size after decompression in bytes, the number of
        values, and a length in bytes. For a dictionary, the number of values is 0, and the length
        is the length of the longest text. For other pages, it is the mean length of the values.

    Raises:
        ValueError: a header is damaged.
    """
    at = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
    end = at + chunk.total_compressed_size
    while at < end:
        for length in _HEADER:
            file.seek(at)
            try:
                header, begin = _thrift_struct(file.read(length), 0)
                break
            except IndexError:
                continue
        else:
            raise ValueError("the header of a page is damaged")
        size, packed = header.get(2, 0), max(0, header.get(3, 0))
        if is_dictionary := 7 in header:
            values, longest = 0, 0
            if chunk.physical_type == "BYTE_ARRAY" and size <= MOST_PAGE:
                file.seek(at + begin)
                longest = _longest(file.read(packed), size, chunk.compression)
        else:
            values = header.get(5, header.get(8, {})).get(1, 0)
            longest = size // max(values, 1)
        yield is_dictionary, size, values, longest
        at += begin + packed


def _longest(texts: bytes, size: int, compression: str) -> int:
    """Return the length in bytes of the longest text in a dictionary page."""
    if compression != "UNCOMPRESSED":
        import pyarrow as pa

        codec = compression.lower().replace("lz4", "lz4_raw")
        texts = pa.decompress(texts, size, codec=codec, asbytes=True)
    at = longest = 0
    while at < len(texts):
        length = int.from_bytes(texts[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return longest


def _thrift_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Parse a struct in Thrift's compact protocol.

    Returns:
        The numbers and nested structs by field id, and the offset after the struct.
    """
    fields: dict[int, Any] = {}
    field = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte, at = data[at], at + 1
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return found

    while byte := data[at]:
        at += 1
        kind, step = byte & 15, byte >> 4
        field = field + step if step else number() // 2
        if kind in (4, 5, 6):
            written = number()
            fields[field] = (written >> 1) ^ -(written & 1)
        elif kind == 8:
            length = number()
            at += length
        elif kind == 12:
            fields[field], at = _thrift_struct(data, at)
        elif kind not in (1, 2):
            raise ValueError("the header of a page is damaged")
    return fields, at + 1


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        # Times are truncated to seconds in UTC, since a datetime cannot represent nanoseconds and
        # some time zones.
        column = column.cast(pa.timestamp("s"), safe=False)
    return list(column.to_pylist())


def first_line(exc: Exception) -> str:
    """Return the first line of an error's message, or the class name if there is no message."""
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")


def write_parquet(
    file: IO[bytes], items: Iterable[Annotated], framework: Framework, schema: pa.Schema
) -> None:
    """Write annotations as a Parquet file.

    Args:
        schema: a schema of `parquet_schema`, from which columns after the id may be removed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = (parquet_row(item, framework, schema.names[0]) for item in items)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def parquet_schema(framework: Framework, id_column: str, *, sections: bool = False) -> pa.Schema:
    """Return the schema of a Parquet file with annotations by a framework.

    The id, the fields of the paper and the moves are strings. `support` and `confidence` are
    structs with a double or null for each move. `uncertain` is a list of move names. `anchors`,
    `suggestions`, `checks` and `provenance` are JSON strings, since their keys differ between
    annotations.

    Args:
        sections: True to add a column with the moves that were found in sections, as JSON.
    """
    import pyarrow as pa

    names = (*PAPER_COLUMNS, *framework.names)
    id_name = name_of_ids(id_column, (*names, *_EXTRAS))
    types = {name: pa.string() for name in (id_name, *names)}
    by_move = pa.struct([(name, pa.float64()) for name in framework.names])
    texts = pa.list_(pa.field("element", pa.string()))  # the name that Parquet files use
    types |= {"support": by_move, CONFIDENCE: by_move, UNCERTAIN: texts}
    types |= {name: pa.string() for name in (*_WRITTEN, *[SECTIONS] * sections)}
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in types.items()],
        metadata={
            "framework": framework.name,
            "framework_version": framework.version,
            "framework_digest": framework.digest,
            "harness": __version__,
        },
    )


def parquet_row(item: Annotated, framework: Framework, id_name: str) -> dict[str, Any]:
    """Return an annotation as a row of the schema `parquet_schema`.

    Args:
        id_name: the name of the id column.
    """
    record = item.record
    return {
        id_name: item.paper.id,
        **{name: getattr(item.paper, name) for name in PAPER_COLUMNS},
        **{name: record[name] for name in framework.names},
        "support": record["checks"]["support"],
        CONFIDENCE: confidence_of(record.get(CONFIDENCE), framework.names),
        UNCERTAIN: list(uncertain_moves(record)),
        **{name: compact_json(record.get(name, {})) for name in (*_WRITTEN, SECTIONS)},
    }
