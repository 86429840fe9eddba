"""Annotations as tables: .csv, .jsonl and .parquet, written as they come.

Each function writes into a binary file that is open, leaves it open, and holds few annotations in
memory. What the file raises (OSError: the disk is full) goes to the caller.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

from harness._version import __version__
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

ROW_GROUP = 1000
"""Rows of a Parquet row group: with their provenance, some 5 MB before compression."""
_COLUMNS = ("title", "authors", "published", "categories", "abstract")
_EXTRAS = ("support", "checks", "provenance")


def write_csv(
    file: IO[bytes], items: Iterable[Annotated], framework: Framework, id_column: str
) -> None:
    """Write the id, title, abstract and the moves in the framework's order, with a header.

    RFC 4180 in UTF-8, with "\\n" between the rows; `tables.open_table` reads back what was written.

    Args:
        id_column: the input's own name of its ids' column. Where that is another column's name
            already, ids stand under "id".
    """
    names = ("title", "abstract", *framework.names)
    file.write(csv_row((_id_name(id_column, names), *names)))
    for item in items:
        moves = (item.record[name] for name in framework.names)
        paper = item.paper
        file.write(csv_row((paper.id, paper.title, paper.abstract, *moves)))


def write_jsonl(file: IO[bytes], items: Iterable[Annotated]) -> None:
    """Write each record, checks and provenance with it, as one line of JSON in UTF-8."""
    for item in items:
        file.write(_json(item.record).encode() + b"\n")


def write_parquet(
    file: IO[bytes], items: Iterable[Annotated], framework: Framework, id_column: str
) -> None:
    """Write papers, moves, checks and provenance as `parquet_schema` declares them.

    Args:
        id_column: as in `write_csv`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    schema = parquet_schema(framework, id_column)
    rows = (_parquet_row(item, framework, schema.names[0]) for item in items)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def parquet_schema(framework: Framework, id_column: str) -> pa.Schema:
    """The schema of the annotations of a framework, whatever they hold, and with none at all.

    The id, title, authors, published, categories, abstract and each move are strings; support is a
    struct of one double for each move, null where the move is not stated. checks and provenance are
    JSON in strings: their keys differ from one annotation to the next (files and their digests,
    moves with findings), and a schema inferred from some of them would not hold for the others.
    """
    import pyarrow as pa

    names = (*_COLUMNS, *framework.names, *_EXTRAS)
    text = [_id_name(id_column, names), *_COLUMNS, *framework.names]
    support = pa.struct([(name, pa.float64()) for name in framework.names])
    return pa.schema(
        [pa.field(name, pa.string(), nullable=False) for name in text]
        + [
            pa.field("support", support, nullable=False),
            pa.field("checks", pa.string(), nullable=False),
            pa.field("provenance", pa.string(), nullable=False),
        ],
        metadata={
            "framework": framework.name,
            "framework_version": framework.version,
            "framework_digest": framework.digest,
            "harness": __version__,
        },
    )


def _parquet_row(item: Annotated, framework: Framework, id_name: str) -> dict[str, Any]:
    paper, record = item.paper, item.record
    return {
        id_name: paper.id,
        "title": paper.title,
        "authors": paper.authors,
        "published": paper.published,
        "categories": paper.categories,
        "abstract": paper.abstract,
        **{name: record[name] for name in framework.names},
        "support": record["checks"]["support"],
        "checks": _json(record["checks"]),
        "provenance": _json(record["provenance"]),
    }


def _id_name(id_column: str, others: Iterable[str]) -> str:
    """No framework and no table here has another column "id"."""
    return "id" if id_column.casefold() in others else id_column


def csv_row(values: Iterable[str]) -> bytes:
    """One row as `write_csv` writes it."""
    # The csv module quotes the characters of its own line end alone: with "\n", Python 3.11 leaves
    # a lone "\r" bare, and a reader would see another row.
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(values)
    return buffer.getvalue().removesuffix("\r\n").encode() + b"\n"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
