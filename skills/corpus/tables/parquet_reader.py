"""Read tables as Parquet, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.support.text_input import place, shown
from skills.corpus.tables.columns import Column, Record, as_text, not_text

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
                names = [column.name for column in columns]
                for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                    values = [self._values(batch.column(c.name), c, row) for c in columns]
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

    def _values(self, array: pa.Array, column: Column, row: int) -> list[Any]:
        import pyarrow as pa

        if column.kind == "object":
            return list(array.to_pylist())
        if pa.types.is_timestamp(array.type):
            # Whole seconds of UTC: what Python's own datetime holds, without time zone rules.
            array = array.cast(pa.timestamp("s"), safe=False)
        texts = []
        for number, value in enumerate(array.to_pylist(), start=row + 1):
            text = as_text(value, column.kind)
            if text is None:
                raise not_text(value, column, place(self._path, self.unit, number))
            texts.append(text)
        return texts


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
