"""Read Parquet files (a file, a folder or a pattern) as one table, and write a file.

    papers/             the .parquet files in a folder, which may be named papers.parquet itself
    "parts/*.parquet"   a pattern; ** also matches folders in between

The files are read in the order of their names. Names in a folder that begin with "." or "_" are
ignored: other programs give such names to incomplete files and files without rows.
"""

from __future__ import annotations

import bisect
import glob
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

from harness._version import __version__
from harness.errors import InputError
from harness.support.text_input import at_home, place, reading, regular_file, shown
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import CONFIDENCE, SECTIONS, SUGGESTIONS, UNCERTAIN, Reader
from skills.corpus.tables.text_tables import compact_json, name_of_ids
from skills.nanda.confidence import confidence_of, uncertain_moves
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

SUFFIX = ".parquet"
ROW_GROUP = 1000
"""Number of rows in a written row group: about 5 MB with provenance, before compression."""
PAPER_COLUMNS = ("title", "authors", "published", "categories", "abstract")
OBJECTS = ("anchors", "checks", "provenance")
_WRITTEN = ("anchors", SUGGESTIONS, "checks", "provenance")  # earlier parts have no suggestions
_EXTRAS = ("support", CONFIDENCE, UNCERTAIN, *_WRITTEN)
BATCH_ROWS = 256
MOST_PAGE, MOST_PAGES = 8_000_000, 24_000_000
"""Maximum size in bytes of an uncompressed page, and of the largest pages of all columns
together.
"""
_HEADER = 1 << 12, 1 << 20
"""Number of bytes that are read for the header of a page; the second number for long statistics."""
BUFFER_BYTES = 1 << 16
"""Number of bytes that are read ahead in each column; without it, whole columns are read."""


def is_part(name: str) -> bool:
    """Return True if a file with this name is read as a part of its folder."""
    return name.lower().endswith(SUFFIX) and name[0] not in "._"


def find_files(path: Path) -> list[Path]:
    """Return the files of a folder or a pattern, in the order of their names.

    Raises:
        InputError: the file is missing, or a file is empty or cannot be read.
    """
    place = at_home(path)
    with reading(path):
        if place.is_dir():
            found = [file for file in place.iterdir() if is_part(file.name) and file.is_file()]
            problem = f"is a folder without {SUFFIX} and .pdf files, and none of Zotero"
        else:
            # Path.glob does not accept absolute patterns.
            names = {*glob.glob(str(place), recursive=True)}  # noqa: PTH207
            found = [file for file in map(Path, names) if file.is_file()]
            problem = "no file matches this pattern"
    if not found:
        hint = f"Name a table, a folder of such files, or a pattern such as parts/*{SUFFIX}."
        raise InputError(problem, where=shown(path), hint=hint)
    return [regular_file(file) for file in sorted(found)]


class ParquetFiles(Reader):
    """The reader of several files with the same columns; positions count over all files."""

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
        """Check that a file has the columns of the first file, in any order.

        Raises:
            InputError: the columns differ.
        """
        first = shown(self._parts[0].path)
        expected, found = ({field.name: field for field in s} for s in (self._schema, schema))
        hint = "Files that are read together have the same columns; read the others on their own."
        for name in (*expected, *found):
            if name not in found or name not in expected:
                problem = f"{'lacks the' if name in expected else 'has another'} column {name!r}"
                raise InputError(f"{problem}: {first} differs", where=shown(path), hint=hint)
            one, other = expected[name].type, found[name].type
            # "null" is the type of a column without values
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
        """Return the metadata at the end of the file: its columns and the number of rows.

        Raises:
            InputError: the file is incomplete, or has another format.
        """
        import pyarrow as pa

        try:
            with self._open() as file:
                return file.metadata
        except (pa.ArrowException, OSError) as exc:
            raise InputError(
                f"is not a Parquet file ({_first_line(exc)})",
                where=shown(self.path),
                hint="Is it complete, and is its suffix right?",
            ) from exc

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        import pyarrow as pa

        position = 0
        try:
            with self._open() as file:
                for number in range(file.metadata.num_row_groups):
                    size = self._check_pages(file.metadata, number, set(names))
                    for batch in file.iter_batches(
                        size, [number], columns=list(names), use_threads=False
                    ):
                        columns = [_values(column) for column in batch.columns]
                        for values in zip(*columns, strict=True):
                            position += 1
                            yield position, dict(zip(batch.schema.names, values, strict=True))
        except (pa.ArrowException, OSError, ValueError, OverflowError) as exc:
            raise InputError(
                f"some of the rows from here on cannot be read ({_first_line(exc)})",
                where=place(self.path, self.unit, position + 1),
                hint="Is the file complete? Write it again.",
            ) from exc

    def _open(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(self.path)
        columns = map(metadata.schema.column, range(len(metadata.schema)))
        # A text that a file stores once is kept once in memory; pyarrow cannot do this in lists.
        texts = [
            one.path for one in columns if one.logical_type.type == "STRING" and "." not in one.path
        ]
        return pq.ParquetFile(
            self.path,
            metadata=metadata,
            read_dictionary=texts,
            buffer_size=BUFFER_BYTES,
            pre_buffer=False,
        )

    def _check_pages(self, metadata: pq.FileMetaData, number: int, names: set[str]) -> int:
        """Return the number of rows of a row group to read together.

        Args:
            names: the columns to read.

        Raises:
            InputError: an uncompressed page, or the lists, would take too much memory.
        """
        group, total, widths = metadata.row_group(number), 0, 0
        with self.path.open("rb") as file:
            for chunk in map(group.column, range(group.num_columns)):
                name = chunk.path_in_schema
                if name.partition(".")[0] not in names:
                    continue
                pages = list(_pages(file, chunk))
                data = [page for page in pages if not page.is_dictionary]
                largest = max((page.size for page in pages), default=0)
                too_large = largest > MOST_PAGE
                if "." in name and not too_large:  # lists are read without a dictionary
                    longest = max((_longest(file, chunk, page) for page in pages), default=0)
                    too_large = longest * sum(page.values for page in data) > MOST_PAGES
                total += max((page.size for page in data), default=0)
                total += sum(page.size for page in pages if page.is_dictionary)
                widths += max((page.size // max(page.values, 1) for page in data), default=0)
                if too_large or total > MOST_PAGES:
                    raise InputError(
                        f"the column {name!r} of row group {number + 1} would take too much "
                        "memory when it is unpacked",
                        where=shown(self.path),
                        hint="Write it with smaller pages and row groups.",
                    )
        return max(1, min(BATCH_ROWS, MOST_PAGE // max(1, widths)))


class _Page(NamedTuple):
    """A page of a column, with its uncompressed size and its number of values."""

    at: int
    packed: int
    size: int
    values: int
    is_dictionary: bool


def _pages(file: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[_Page]:
    """Yield the pages of a column from their headers, which determine the memory of a reader.

    The metadata at the end of a file only contain sums.

    Raises:
        ValueError: a header is damaged.
    """
    at = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
    end = at + chunk.total_compressed_size
    while at < end:
        for length in _HEADER:
            file.seek(at)
            try:
                header, size = _thrift_struct(file.read(length), 0)
                break
            except IndexError:
                continue
        else:
            raise ValueError("the header of a page is damaged")
        about: dict[int, int] = next((header[one] for one in (5, 7, 8) if one in header), {})
        packed = max(0, header.get(3, 0))
        yield _Page(at + size, packed, header.get(2, 0), about.get(1, 0), 7 in header)
        at += size + packed


def _longest(file: BinaryIO, chunk: pq.ColumnChunkMetaData, page: _Page) -> int:
    """Return the length of the longest text in a dictionary page; 8 for another page."""
    if not page.is_dictionary or chunk.physical_type != "BYTE_ARRAY":
        return 8
    file.seek(page.at)
    texts = file.read(page.packed)
    if chunk.compression != "UNCOMPRESSED":
        import pyarrow as pa

        codec = chunk.compression.lower().replace("lz4", "lz4_raw")
        texts = pa.decompress(texts, page.size, codec=codec, asbytes=True)
    at, longest = 0, 8
    while at < len(texts):
        length = int.from_bytes(texts[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return longest


def _thrift_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the numbers of a struct in Thrift's compact protocol by field, and its end."""
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
        field += step or _signed(number())
        if kind in (4, 5, 6):
            fields[field] = _signed(number())
        elif kind == 8:
            length = number()
            at += length
        elif kind == 12:
            fields[field], at = _thrift_struct(data, at)
        elif kind in (3, 7):
            at += 1 if kind == 3 else 8
        elif kind not in (1, 2):
            raise ValueError("the header of a page is damaged")
    return fields, at + 1


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        texts = column.dictionary.to_pylist()
        return [None if place is None else texts[place] for place in column.indices.to_pylist()]
    if pa.types.is_timestamp(column.type):
        # Python's datetime represents seconds of UTC, without rules of time zones.
        column = column.cast(pa.timestamp("s"), safe=False)
    return list(column.to_pylist())


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")


def write_parquet(
    file: IO[bytes],
    items: Iterable[Annotated],
    framework: Framework,
    id_column: str,
    *,
    sections: bool = False,
) -> None:
    """Write papers, moves and the objects of annotations with the schema of `parquet_schema`.

    Args:
        id_column: the name of the id column, as in `table_rows`.
        sections: add a column of the moves that were found in sections, as JSON.
    """
    schema = parquet_schema(framework, id_column, sections=sections)
    write_parquet_as(schema, file, items, framework)


def write_parquet_as(
    schema: pa.Schema, file: IO[bytes], items: Iterable[Annotated], framework: Framework
) -> None:
    """Write annotations with the columns of a schema, whose first column contains the ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = (parquet_row(item, framework, schema.names[0]) for item in items)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def parquet_schema(framework: Framework, id_column: str, *, sections: bool = False) -> pa.Schema:
    """Return the schema for annotations by a framework, which does not depend on contents.

    The id, title, authors, published, categories, abstract and each move are strings; support is a
    struct of a double for each move, null if the move is not stated; confidence is the same struct,
    null without a confidence; uncertain is the list of the uncertain moves. anchors, suggestions,
    checks and provenance are JSON strings, since their keys differ between annotations (digests of
    files, moves with findings).

    Args:
        sections: add a column of the moves that were found in sections, as JSON.
    """
    import pyarrow as pa

    names = (*PAPER_COLUMNS, *framework.names)
    id_name = name_of_ids(id_column, (*names, *_EXTRAS))
    types = {name: pa.string() for name in (id_name, *names)}
    by_move = pa.struct([(name, pa.float64()) for name in framework.names])
    texts = pa.list_(pa.field("element", pa.string()))  # named as in files
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
    """Return an annotation as a row of `parquet_schema`."""
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
