"""Read tables as Parquet, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.support.reading.text_input import place, shown
from skills.corpus.tables.columns import Reader

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

BATCH_ROWS = 256
BUFFER_BYTES = 1 << 16
"""Read ahead in each column; without it, the columns of a row group are read whole."""


class ParquetReader(Reader):
    unit = "row"

    def header(self) -> tuple[str, ...]:
        return tuple(self.footer().schema.to_arrow_schema().names)

    def footer(self) -> pq.FileMetaData:
        """Return what the end of the file declares: its columns and the number of rows.

        Raises:
            InputError: the file is not whole, or of another format.
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
                for batch in file.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False):
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

        return pq.ParquetFile(self.path, buffer_size=BUFFER_BYTES, pre_buffer=False)


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        # Whole seconds of UTC: what Python's own datetime holds, without time zone rules.
        column = column.cast(pa.timestamp("s"), safe=False)
    return list(column.to_pylist())


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
