"""Read tables as Parquet, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.support.text_input import place, shown
from skills.corpus.tables.columns import Column, Kind, Record, as_text

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

BATCH_ROWS = 256
BUFFER_BYTES = 1 << 16
"""Read ahead in each column; without it, the columns of a row group are read whole."""


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
                f"is not a Parquet file ({_first_line(exc)})",
                where=shown(self._path),
                hint="Is it complete, and is its suffix right?",
            ) from exc

    def records(self, columns: tuple[Column, ...]) -> Iterator[Record]:
        import pyarrow as pa

        row = 0
        try:
            with self._open() as file:
                for column in columns:
                    self._check_type(file.schema_arrow.field(column.name).type, column)
                names = [column.name for column in columns]
                for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                    values = (_values(batch.column(name), kind) for _, name, kind in columns)
                    for record in zip(*values, strict=True):
                        row += 1
                        yield Record(row, record)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as exc:
            raise InputError(
                f"some of the rows from here on cannot be read ({_first_line(exc)})",
                where=place(self._path, self.unit, row + 1),
                hint="Is the file complete? Write it again.",
            ) from exc

    def _open(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self._path, buffer_size=BUFFER_BYTES, pre_buffer=False)

    def _check_type(self, kind: pa.DataType, column: Column) -> None:
        from pyarrow import types

        if types.is_dictionary(kind):
            kind = kind.value_type
        is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        if column.kind in ("loose", "object") or is_text or types.is_null(kind):
            return
        if column.kind == "id" and types.is_integer(kind):
            return
        is_number = column.kind == "id" and types.is_floating(kind)
        raise InputError(
            f"the column {column.name!r} is {kind}, not text",
            where=shown(self._path),
            hint="Save ids as text: as a number, 2405.10 is 2405.1."
            if is_number
            else "Save it as text.",
        )


def _values(column: pa.Array, kind: Kind) -> list[Any]:
    import pyarrow as pa

    if kind == "object":
        return list(column.to_pylist())
    if pa.types.is_timestamp(column.type):
        # Whole seconds of UTC: what Python's own datetime holds, without time zone rules.
        column = column.cast(pa.timestamp("s"), safe=False)
    return [as_text(value, kind) or "" for value in column.to_pylist()]


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
