"""Read single rows of parts; a Parquet file itself can only be read by row groups."""

from __future__ import annotations

import bisect
import functools
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from skills.corpus.db.papers import paper_of
from skills.corpus.parquet_store.index import Index, Part
from skills.corpus.records import Annotated, Failure
from skills.corpus.tables.columns import CONFIDENCE, ERROR, SECTIONS, SUGGESTIONS
from skills.corpus.tables.parquet_files import OBJECTS, ParquetReader, first_line
from skills.nanda.confidence import confidence_of, doubt_of

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

CHUNK = 256
"""Maximum number of rows that are read at a time and kept in memory."""
Row = dict[str, Any]


class Rows:
    """Reads rows of the parts of an index by id; up to 8 files and one row group stay open."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._open: Callable[[Part], pq.ParquetFile] = functools.lru_cache(8)(self._opened)
        self._group: tuple[object, _Group] | None = None

    def read(self, ids: Iterable[int], columns: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
        """Yield the id and the values of each row, in the order of `ids`.

        Ids that belong to no readable part are omitted. The values of a row include "id_field" and
        "source_id", as in a row of the table `papers`.

        Args:
            columns: the columns to read; all columns if empty.

        Raises:
            InputError: a part cannot be read.
        """
        wanted = iter(ids)
        while chunk := list(itertools.islice(wanted, CHUNK)):
            found = self._chunk(chunk, tuple(columns))
            yield from ((one, found[one]) for one in chunk if one in found)

    def annotated(self, ids: Iterable[int]) -> Iterator[tuple[int, Annotated]]:
        """Yield the id and the annotation of each row, in the order of `ids`.

        Raises:
            InputError: a part cannot be read, or a row contains an invalid annotation.
        """
        for row_id, row in self.read(ids):
            yield row_id, self.annotation(row_id, row)

    def annotation(self, row_id: int, row: Row) -> Annotated:
        """Return the annotation in a row that was read with all columns.

        Raises:
            InputError: the annotation is incomplete, or contains invalid JSON.
        """
        framework = self._index.framework
        moves = {name: row[name] for name in framework.names}
        anchors, checks, provenance = (self._object(row_id, row, name) for name in OBJECTS)
        unstated = [name for name in moves if name not in framework.stated(moves)]
        suggestions = self._object(row_id, row, SUGGESTIONS) if SUGGESTIONS in row else None
        doubt = doubt_of(row["abstract"], unstated, self.confidence(row_id, row), suggestions)
        made_from = provenance.get("input")
        if not isinstance(made_from, dict) or "support" not in checks:
            raise self._error(row_id, "has an incomplete annotation")
        paper = paper_of(row, made_from)
        names = (SECTIONS,) if SECTIONS in row and SECTIONS in made_from else ()
        record = {
            paper.id_field: paper.id,
            "title": paper.title,
            **moves,
            "anchors": anchors,
            **doubt,
            "checks": checks,
            **{name: self._object(row_id, row, name) for name in names},
            "provenance": provenance,
        }
        return Annotated(paper, record)

    def confidence(self, row_id: int, row: Row) -> dict[str, float]:
        """Return the stored confidences of a row, by move; moves without a confidence are omitted.

        Raises:
            InputError: the column with the confidences contains invalid JSON.
        """
        return confidence_of(self._object(row_id, row, CONFIDENCE), self._index.framework.names)

    def failure(self, row_id: int, row: Row) -> Failure | None:
        """Return the failure in a row, or None if the row contains no failure."""
        if not row.get(ERROR):
            return None
        try:
            known = self._object(row_id, row, ERROR)
        except InputError:  # not a JSON object: the index accepts any JSON value
            known = {"reason": row[ERROR]}
        return Failure(
            paper_of(row),
            str(known.get("error_type", "unknown")),
            str(known.get("reason", "")),
            bool(known.get("retryable")),
            str(known.get("raw_reply", "")),
        )

    def _chunk(self, ids: Sequence[int], columns: tuple[str, ...]) -> dict[int, Row]:
        import pyarrow as pa

        by_group: defaultdict[tuple[Part, int], list[tuple[int, int]]] = defaultdict(list)
        for row_id in ids:
            if part := self._index.part_of(row_id):
                group, position = self._place(part, row_id - part.first)
                by_group[part, group].append((row_id, position))
        found = {}
        for (part, group), places in by_group.items():
            places.sort(key=itemgetter(1))
            try:
                rows = self._read_group(part, group, columns, [at for _, at in places])
                for (row_id, _), row in zip(places, rows, strict=True):
                    paper = {"id_field": part.id_field, "source_id": row[part.id_column]}
                    found[row_id] = {**row, **paper}
            # ValueError is raised for text that is not UTF-8, missing rows and damaged pages.
            except (pa.ArrowException, OSError, ValueError) as exc:
                raise _unreadable(part, exc) from exc
        return found

    def _place(self, part: Part, position: int) -> tuple[int, int]:
        """Return the row group that contains a row of a part, and the position in the group.

        Args:
            position: the position of the row in the part.

        Raises:
            InputError: the part has fewer rows than when it was indexed.
        """
        footer = self._open(part).metadata
        for group in range(footer.num_row_groups):
            rows = footer.row_group(group).num_rows
            if position < rows:
                return group, position
            position -= rows
        raise self._error(part.first, "has fewer rows than when it was indexed")

    def _read_group(
        self, part: Part, number: int, columns: tuple[str, ...], positions: Sequence[int]
    ) -> Iterator[Row]:
        """Yield the rows of a row group at ascending positions.

        If the previous call read the same columns of the row group, reading continues in the
        batch that is in memory, unless the first position is before this batch.
        """
        key = part, number, columns
        if not self._group or self._group[0] != key or positions[0] < self._group[1].begin:
            file = self._open(part)
            names = [part.id_column, *columns] if columns else file.schema_arrow.names
            self._group = key, _Group(ParquetReader(part.file.path).batches(file, number, names))
        yield from self._group[1].rows(positions)

    def _opened(self, part: Part) -> pq.ParquetFile:
        import pyarrow as pa

        try:
            return ParquetReader(part.file.path).open_file()
        except (pa.ArrowException, OSError) as exc:
            raise _unreadable(part, exc) from exc

    def _object(self, row_id: int, row: Row, name: str) -> dict[str, Any]:
        reason = ""
        try:
            value = json.loads(row[name]) if isinstance(row[name], str) else row[name]
        except ValueError as exc:
            value, reason = None, f" ({exc})"
        if not isinstance(value, dict):
            raise self._error(row_id, f"has no JSON object in the column {name}{reason}")
        return value

    def _error(self, row_id: int, problem: str) -> InputError:
        part = self._index.part_of(row_id)
        where = f"{part.path.name}, row {row_id - part.first + 1}" if part else "the parts"
        return InputError(problem, where=where)


class _Group:
    """A row group that is read in batches; one batch is in memory.

    Attributes:
        begin: the position of the first row of the batch.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._batch: pa.RecordBatch | None = None
        self.begin = 0

    def rows(self, positions: Sequence[int]) -> Iterator[Row]:
        """Yield the rows at ascending positions in the row group, from `begin` or later.

        Raises:
            ValueError: the row group ends before one of the positions.
        """
        while positions:
            rows = self._batch.num_rows if self._batch else 0
            here = positions[: bisect.bisect_left(positions, self.begin + rows)]
            if here and self._batch:
                yield from self._batch.take([at - self.begin for at in here]).to_pylist()
            if positions := positions[len(here) :]:
                self.begin, self._batch = self.begin + rows, next(self._batches, None)
                if self._batch is None:
                    raise ValueError("it has fewer rows than it states")


def _unreadable(part: Part, exc: Exception) -> InputError:
    return InputError(
        f"cannot be read ({first_line(exc)})",
        where=part.path.name,
        hint="Is the part complete? Replace or delete the file; then run `/corpus index FOLDER`.",
    )
