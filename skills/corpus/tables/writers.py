"""Write annotations as tables: .csv, .xlsx, .jsonl and .parquet.

Each function writes to an open binary file and leaves it open, with few annotations in memory at a
time. Errors of the file (OSError) are not caught.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from harness._version import __version__
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import CONFIDENCE, DOUBT, SECTIONS, SUGGESTIONS, UNCERTAIN
from skills.nanda.confidence import confidence_of, from_sections, suggestions_of, uncertain_moves
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

ROW_GROUP = 1000
"""Rows of a Parquet row group: about 5 MB with their provenance, before compression."""
_COLUMNS = ("title", "authors", "published", "categories", "abstract")
_OBJECTS = ("anchors", SUGGESTIONS, "checks", "provenance")
_EXTRAS = ("support", CONFIDENCE, UNCERTAIN, *_OBJECTS)


def write_csv(file: IO[bytes], rows: Iterable[Sequence[str]]) -> None:
    """Write rows as RFC 4180 in UTF-8, with "\\n" between them."""
    for row in rows:
        file.write(csv_row(row))


def table_rows(
    items: Iterable[Annotated],
    framework: Framework,
    id_column: str,
    *,
    doubt: bool = False,
    sections: bool = False,
) -> Iterator[tuple[str, ...]]:
    """Yield a header, then the id, title, abstract and the moves in the framework's order.

    Args:
        id_column: the input's name of the id column, replaced by "id" if another column has it.
        doubt: add the names of the uncertain moves, the confidence of each move, and suggestions.
        sections: add a column of the moves that were found in sections, for people.
    """
    names = ("title", "abstract", *framework.names, *DOUBT * doubt, *[SECTIONS] * sections)
    yield (_id_name(id_column, names), *names)
    for item in items:
        record, paper = item.record, item.paper
        known = confidence_of(record.get(CONFIDENCE), framework.names)
        suggested = (
            f"{move} ({one['confidence']:.2f}): {one['text']}"
            for move, one in suggestions_of(record).items()
        )
        doubts = (
            "; ".join(uncertain_moves(record)),
            "; ".join(f"{move} {confidence:.2f}" for move, confidence in known.items()),
            "; ".join(suggested),
        )
        beside = (f"{framework.labels[one]}: {text}" for one, text in from_sections(record).items())
        yield (
            paper.id,
            paper.title,
            paper.abstract,
            *(record[name] for name in framework.names),
            *doubts * doubt,
            *["; ".join(beside)] * sections,
        )


def write_jsonl(file: IO[bytes], items: Iterable[Annotated]) -> None:
    """Write each record, with all objects of the annotation, as one line of JSON in UTF-8."""
    for item in items:
        file.write(_json(item.record).encode() + b"\n")


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
        id_column: as in `table_rows`.
        sections: add a column of the moves that were found in sections, as JSON.
    """
    schema = parquet_schema(framework, id_column, sections=sections)
    write_parquet_as(schema, file, items, framework)


def write_parquet_as(
    schema: pa.Schema, file: IO[bytes], items: Iterable[Annotated], framework: Framework
) -> None:
    """Write annotations with the columns of a schema; its first one is that of the ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows = (parquet_row(item, framework, schema.names[0]) for item in items)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def parquet_schema(framework: Framework, id_column: str, *, sections: bool = False) -> pa.Schema:
    """Return the schema of a framework's annotations, which does not depend on their contents.

    The id, title, authors, published, categories, abstract and each move are strings; support is a
    struct of one double for each move, null if the move is not stated; confidence is one too, null
    without a confidence; uncertain is the list of the uncertain moves. anchors, suggestions, checks
    and provenance are JSON strings, since their keys differ between annotations (digests of files,
    moves with findings).

    Args:
        sections: add a column of the moves that were found in sections, as JSON.
    """
    import pyarrow as pa

    names = (*_COLUMNS, *framework.names)
    id_name = _id_name(id_column, (*names, *_EXTRAS))
    types = {name: pa.string() for name in (id_name, *names)}
    by_move = pa.struct([(name, pa.float64()) for name in framework.names])
    texts = pa.list_(pa.field("element", pa.string()))  # as a file names its items
    types |= {"support": by_move, CONFIDENCE: by_move, UNCERTAIN: texts}
    types |= {name: pa.string() for name in (*_OBJECTS, *[SECTIONS] * sections)}
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
        **{name: getattr(item.paper, name) for name in _COLUMNS},
        **{name: record[name] for name in framework.names},
        "support": record["checks"]["support"],
        CONFIDENCE: confidence_of(record.get(CONFIDENCE), framework.names),
        UNCERTAIN: list(uncertain_moves(record)),
        **{name: _json(record.get(name, {})) for name in (*_OBJECTS, SECTIONS)},
    }


def _id_name(id_column: str, others: Iterable[str]) -> str:
    """Return the name of the id column; no framework has a move "id"."""
    return "id" if id_column.casefold() in others else id_column


def csv_row(values: Iterable[str]) -> bytes:
    """Return a row of CSV."""
    # With "\n" as line end, the csv module of Python 3.11 does not quote a lone "\r", which a
    # reader would take for the end of a row.
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(values)
    return buffer.getvalue().removesuffix("\r\n").encode() + b"\n"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
