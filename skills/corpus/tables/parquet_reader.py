"""Tables as Parquet, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.tables.columns import Kind, Wanted, as_text
from skills.corpus.tables.files import Record, place

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

BATCH_ROWS = 256
BUFFER_BYTES = 1 << 16
"""Read ahead in each column; without it, a row group's columns are read whole."""


class ParquetReader:
    unit = "row"

    def __init__(self, path: Path) -> None:
        self._path = path

    def header(self) -> tuple[str, ...]:
        import pyarrow as pa

        try:
            with self._open() as file:
                return tuple(file.schema_arrow.names)
        except (pa.ArrowException, OSError) as exc:
            raise InputError(
                f"is no Parquet file ({_first_line(exc)})",
                where=shown(self._path),
                hint="Is it whole, and does its suffix say what it is?",
            ) from exc

    def records(self, wanted: tuple[Wanted, ...]) -> Iterator[Record]:
        import pyarrow as pa

        row = 0
        try:
            with self._open() as file:
                self._check_types(file.schema_arrow, wanted)
                names = [want.column for want in wanted]
                for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                    columns = (_texts(batch.column(want.column), want.kind) for want in wanted)
                    for values in zip(*columns, strict=True):
                        row += 1
                        yield Record(row, values)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as exc:
            raise InputError(
                f"some of the rows from here on cannot be read ({_first_line(exc)})",
                where=place(self._path, self.unit, row + 1),
                hint="Is the file whole? Write it anew.",
            ) from exc

    def _open(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self._path, buffer_size=BUFFER_BYTES, pre_buffer=False)

    def _check_types(self, schema: pa.Schema, wanted: tuple[Wanted, ...]) -> None:
        import pyarrow as pa

        for want in wanted:
            kind = schema.field(want.column).type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            if want.kind == "loose" or _is_text(kind) or pa.types.is_null(kind):
                continue
            if want.kind == "id" and pa.types.is_integer(kind):
                continue
            lost = want.kind == "id" and pa.types.is_floating(kind)
            raise InputError(
                f"the column {want.column!r} holds {kind}, and not text",
                where=shown(self._path),
                hint="Save ids as text: as a number, 2405.10 is 2405.1."
                if lost
                else "Save it as text.",
            )


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _texts(column: pa.Array, kind: Kind) -> list[str]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        # Whole seconds of UTC: what Python's own datetime holds, without a time zone's rules.
        column = column.cast(pa.timestamp("s"), safe=False)
    return [as_text(value, kind) or "" for value in column.to_pylist()]


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
