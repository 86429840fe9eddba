"""Facts of the rows of parts, for filters and statistics: written once, read without the texts.

id          the row (index.py)
part        the part
source_id   the id of the paper in its source
arxiv       whether this is an id at arXiv
digest      64 bits of the digest of the abstract
year, category, categories   as in the table `papers`; the categories in lower case
annotated   whether the row has an annotation
error       the type of the error, "" for none
model, created, stated, support, unsupported   as in the table `annotations`
support_0, ...   the support of each move that is stated
numbers, names   the moves with a number or name that is not in the abstract
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from skills.corpus.db.facets import categories as split_categories
from skills.corpus.db.facets import first_category
from skills.corpus.parts import duck
from skills.corpus.parts.folder import Layout
from skills.corpus.parts.index import Index
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, abstract_digest

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa  # type: ignore[import-untyped]

BATCH_ROWS = 50_000
FETCHED = 2_000
"""Rows of texts in memory at a time."""


@dataclass(frozen=True, slots=True)
class NewPart:
    """A part to be indexed, with the ids that its rows will have."""

    id: int
    path: Path
    first: int
    layout: Layout


def write(
    db: duckdb.DuckDBPyConnection, parts: Sequence[NewPart], framework: Framework, target: Path
) -> list[int | None]:
    """Write the facts of parts of the same layout, and return the years that their papers have.

    Raises:
        duckdb.Error: a part cannot be read, or its JSON is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    years = set()
    read = pa.RecordBatchReader.from_stream(db.sql(_of_rows(parts, framework)))
    with contextlib.ExitStack() as stack:
        writer = None
        for batch in _slices(read):
            table = _completed(batch, len(framework.names))
            if writer is None:
                made = pq.ParquetWriter(target, table.schema, compression="zstd")
                writer = stack.enter_context(made)
            writer.write_table(table)
            years.update(table["year"].unique().to_pylist())
    return list(years)


def _slices(read: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches of a few rows: those of DuckDB have up to a million."""
    for batch in read:
        for begin in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(begin, BATCH_ROWS)


def _of_rows(parts: Sequence[NewPart], framework: Framework) -> str:
    """Return the query for the facts; `_completed` computes the rest of them."""
    supports = [f"support.{duck.name(move)}" for move in framework.names]
    columns = ", ".join(f"{one} AS support_{i}" for i, one in enumerate(supports))
    unstated = duck.literal(framework.not_stated)
    stated = ", ".join(
        f"CASE WHEN {duck.name(move)} <> {unstated} THEN {duck.literal(move)} END"
        for move in framework.names
    )
    layout = parts[0].layout
    error = "error" if layout.has_errors else "''"
    return f"""
        WITH read AS (
            SELECT *, {error} AS problem,
                CASE WHEN problem = '' AND provenance NOT IN ('', '{{}}') THEN provenance END
                    AS made,
                json_extract_string(made, ['$.resolved', '$.created', '$.input.sha256']) AS known,
                CASE WHEN checks NOT IN ('', '{{}}') THEN
                    json_extract(checks, ['$.unsupported_numbers', '$.unsupported_names']) END
                    AS lacking
            FROM {_rows(parts)}
        )
        SELECT first + file_row_number AS id, part, {duck.name(layout.id_column)} AS source_id,
            {layout.id_field == "arxiv_id"} AS arxiv, known[3] AS digest,
            CASE WHEN known[3] IS NULL THEN abstract END AS abstract, published, categories,
            known[1] IS NOT NULL AND known[2] IS NOT NULL AND known[3] IS NOT NULL AS annotated,
            CASE WHEN problem = '' THEN '' ELSE coalesce(
                json_extract_string(problem, '$.error_type'), problem) END AS error,
            known[1] AS model, coalesce(known[2], '') AS created,
            CASE WHEN annotated THEN concat_ws(' ', {stated}) ELSE '' END AS stated,
            {_count("lacking[1]")} + {_count("lacking[2]")} AS unsupported,
            {columns}, {_keys("lacking[1]")} AS numbers, {_keys("lacking[2]")} AS names
        FROM read
    """


def _completed(batch: pa.RecordBatch, moves: int) -> pa.Table:
    """Return facts with those that are computed as in the database."""
    import pyarrow as pa

    supports = zip(*(batch[f"support_{i}"].to_pylist() for i in range(moves)), strict=True)
    digests = zip(batch["digest"].to_pylist(), batch["abstract"].to_pylist(), strict=True)
    categories = batch["categories"]
    computed = {
        "digest": pa.array((_digest(*one) for one in digests), pa.uint64()),
        "year": _each_once(
            lambda text: _paper(published=text).year, batch["published"], pa.int32()
        ),
        "category": _each_once(
            lambda text: first_category(_paper(categories=text)), categories, pa.utf8()
        ),
        "categories": _each_once(folded_categories, categories, pa.list_(pa.utf8())),
        "support": pa.array(map(_mean, supports), pa.float64()),
    }
    table = pa.Table.from_batches([batch]).drop_columns(["abstract", "published"])
    for column, values in computed.items():
        if column in table.schema.names:
            table = table.set_column(table.schema.get_field_index(column), column, values)
        else:
            table = table.append_column(column, values)
    return table


def folded_categories(text: str) -> list[str]:
    """Return the categories of a paper as filters compare them."""
    return [category.casefold() for category in split_categories(text)]


def _each_once(function: Callable[[str], Any], column: pa.Array, stored: pa.DataType) -> pa.Array:
    """Return a function of each value of a column, computed once for equal ones."""
    import pyarrow as pa

    encoded = column.dictionary_encode()
    values = [function(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(values, stored).take(encoded.indices)


def _paper(*, published: str = "", categories: str = "") -> Paper:
    return Paper("id", "", "", "", published=published, categories=categories)


def _digest(sha256: str | None, abstract: str | None) -> int:
    """Return the first 64 bits of the digest of an abstract."""
    return int((sha256 or abstract_digest(abstract or ""))[:16], 16)


def _mean(supports: Sequence[float | None]) -> float | None:
    known = [support for support in supports if support is not None]
    return round(fmean(known), 3) if known else None


def texts(
    db: duckdb.DuckDBPyConnection, parts: Sequence[NewPart], framework: Framework
) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yield id, date, categories and moves of each annotation, in the order of the ids."""
    error = "error = ''" if parts[0].layout.has_errors else "TRUE"
    moves = ", ".join(map(duck.name, framework.names))
    found = db.execute(
        "SELECT filename, file_row_number, published, categories,"
        f" {moves} FROM {_read(parts)} WHERE {error} AND provenance NOT IN ('', '{{}}')"
    )
    first = {str(part.path): part.first for part in parts}
    while rows := found.fetchmany(FETCHED):
        for path, position, published, categories, *moved in rows:
            yield first[path] + position, published, categories, moved


def prepare(db: duckdb.DuckDBPyConnection, index: Index) -> None:
    """Create the views `facts`, of all rows, and `annotations`, of the current ones.

    Both have the number of the paper as `paper`, and `current`.
    """
    read = f"SELECT * FROM read_parquet({duck.files(index.facts())})"
    [(rows,)] = db.execute(f"SELECT count(*) FROM ({read})").fetchall()
    live = sum(part.rows for part in index.parts)
    if rows != live:  # a file also has the facts of parts that are not as they were
        ids = ", ".join(str(part.id) for part in index.parts)
        read += f" WHERE part IN ({ids})"
    repeats = index.db.execute("SELECT id, paper, current FROM repeats").fetchall()
    if repeats:
        import numpy as np

        again = np.array(repeats, dtype=np.int64)
        columns = {"id": again[:, 0], "paper": again[:, 1], "current": again[:, 2] == 1}
        db.register("repeats", columns)
        read = (
            "SELECT f.*, coalesce(r.paper, f.id) AS paper, coalesce(r.current, TRUE) AS current"
            f" FROM ({read}) f LEFT JOIN repeats r ON r.id = f.id"
        )
    else:
        read = f"SELECT *, id AS paper, TRUE AS current FROM ({read})"
    db.execute(f"CREATE VIEW facts AS {read}")
    db.execute("CREATE VIEW annotations AS SELECT * FROM facts WHERE annotated AND current")


def repeats(
    db: duckdb.DuckDBPyConnection, paths: Sequence[Path], parts: Sequence[int]
) -> list[tuple[int, int, bool]]:
    """Return id, number of the paper and whether it is current, of rows of repeated papers.

    The annotation that was made last is the current one, as in the database; of those made at the
    same time, that of the last row. At arXiv, a new version of an abstract replaces the old one. A
    failure is current if its paper has no annotation.
    """
    sql = f"""
        WITH known AS (
            SELECT id, source_id, digest, arxiv, annotated, created
            FROM read_parquet({duck.files(paths)}) WHERE part IN ({", ".join(map(str, parts))})
        ), again AS (
            SELECT * FROM known WHERE source_id IN
                (SELECT source_id FROM known GROUP BY source_id HAVING count(*) > 1)
        ), papers AS (
            SELECT *, min(id) OVER of_paper AS paper, bool_or(arxiv) OVER of_paper AS at_arxiv
            FROM again WINDOW of_paper AS (PARTITION BY source_id, digest)
        ), ordered AS (
            SELECT *, row_number() OVER (
                PARTITION BY source_id, annotated, at_arxiv,
                    CASE WHEN annotated AND at_arxiv THEN 0 ELSE digest END
                ORDER BY created DESC, id DESC) = 1 AS newest
            FROM papers
        )
        SELECT id, paper, newest AND (annotated OR NOT bool_or(annotated AND newest)
            OVER (PARTITION BY source_id, digest)) AS current
        FROM ordered
        QUALIFY id <> paper OR NOT current
        ORDER BY id
    """
    found: list[tuple[int, int, bool]] = db.execute(sql).fetchall()
    return found


def _read(parts: Sequence[NewPart]) -> str:
    paths = duck.files(part.path for part in parts)
    return f"read_parquet({paths}, filename=true, file_row_number=true)"


def _rows(parts: Sequence[NewPart]) -> str:
    """Return the rows of parts, each with the id of its part and that of its first row."""
    known = ", ".join(f"({duck.literal(str(one.path))}, {one.id}, {one.first})" for one in parts)
    return f"{_read(parts)} JOIN (VALUES {known}) AS of(path, part, first) ON path = filename"


def _count(of: str) -> str:
    """Return how many texts a JSON object has in its lists."""
    lengths = f"list_transform(json_keys({of}), lambda key: json_array_length({of}, '$.' || key))"
    return f"CASE WHEN {of} IS NULL OR {of}::VARCHAR = '{{}}' THEN 0 ELSE list_sum({lengths}) END"


def _keys(of: str) -> str:
    return f"CASE WHEN {of}::VARCHAR <> '{{}}' THEN json_keys({of}) ELSE [] END"
