"""Build and update the index of a folder of parts.

An update reads only the parts that are new or have changed.

The index has a full-text table of the moves, and Parquet files with facts about the rows of parts.
Filters and statistics read these facts, not the texts. The columns of the facts are:

    id          the id of the row (see index.py)
    part        the id of the part
    source_id   the id of the paper at its source
    arxiv       True if source_id is an arXiv id
    digest      the first 64 bits of the digest of the abstract
    year, category   as in the table `papers`
    categories  the list of categories, in lower case
    annotated   True if the row has an annotation
    error       the type of the error, or ""
    created     the creation time in the provenance, or ""
    model, stated, support, unsupported   as in the table `annotations`
    support_0, ...   the support of each move of the framework; null if not stated
    numbers     the moves with a number that the abstract lacks
    names       the moves with a name that the abstract lacks
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from harness.errors import InputError, OutputError
from harness.support.process import job_lock, require
from harness.support.sqlite import is_interrupted
from skills.corpus.db.connection import transaction
from skills.corpus.db.facets import categories as split_categories
from skills.corpus.db.facets import first_category, paper_words, word
from skills.corpus.outputs import Indexed
from skills.corpus.parquet_store.duckdb_views import connected, sql_files, sql_text
from skills.corpus.parquet_store.index import (
    FOLDER,
    UNKNOWN_YEAR,
    File,
    Part,
    create_index,
    find_files,
    is_current,
    known_parts,
    new_part,
    place_of,
)
from skills.corpus.search.query_syntax import quoted as sql_name
from skills.corpus.tables.parquet_files import first_line
from skills.nanda.framework import Framework
from skills.nanda.paper import abstract_digest, year_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa  # type: ignore[import-untyped]

GROUP_ROWS = 50_000
"""Maximum number of rows in a transaction, if the transaction has several parts."""
GROUP_PARTS = 1_000
FETCHED = 512
"""Number of rows whose texts are in memory at a time."""
FACTS = 10_000
"""Number of rows whose facts are in memory at a time, and in a row group of a file of facts."""

Tick = Callable[[str], None]


def build(folder: Path, framework: Framework, tick: Tick, check: Callable[[], None]) -> Indexed:
    """Index the parts of a folder that are new or have changed.

    After an interruption, the next call continues with the parts that are not yet indexed. Parts
    that no longer exist are removed from the index. An index that is not current is rebuilt.

    Args:
        tick: called with the progress, as text.
        check: called before each step; may raise an error to stop.

    Returns:
        The numbers of parts and rows in the index, the number of parts that this call has added,
        and the reason for each part that cannot be read.

    Raises:
        InputError: the folder has no parts, or cannot be read.
        OutputError: the index cannot be written.
        UsageError: another process writes the index, or duckdb is not installed.
    """
    require("duckdb", extra="duckdb")
    files = find_files(folder)
    place = place_of(folder, framework)
    try:
        with job_lock(folder / FOLDER, str(place)):
            with create_index(folder, framework) as db:
                outdated = not is_current(db, framework)
            if outdated:
                shutil.rmtree(place)
            with create_index(folder, framework) as db, connected(folder) as duckdb:
                return _Builder(db, duckdb, folder, framework, tick, check).build(files)
    except (sqlite3.DatabaseError, OSError) as exc:
        if isinstance(exc, sqlite3.Error) and is_interrupted(exc):
            raise KeyboardInterrupt from exc
        raise OutputError(
            f"the index cannot be written: {getattr(exc, 'strerror', None) or exc}",
            where=str(place),
            hint="If the index is damaged, delete this folder, and repeat the line."
            if isinstance(exc, sqlite3.Error)
            else None,
        ) from exc


@dataclass(frozen=True, slots=True)
class _Builder:
    db: sqlite3.Connection
    duckdb: duckdb.DuckDBPyConnection
    folder: Path
    framework: Framework
    tick: Tick
    check: Callable[[], None]

    def build(self, files: dict[str, File]) -> Indexed:
        known = {part.path.name: part for part in known_parts(self.db, self.folder)}
        same = {name for name, part in known.items() if files.get(name) == part.file}
        changed = [(name,) for name in known if name not in same]
        self.db.executemany("DELETE FROM parts WHERE name = ?", changed)
        due = [file for name, file in files.items() if name not in same]
        done = 0
        for group in self._groups(due):
            self.check()
            self._add(group)
            done += len(group)
            self.tick(f"{done:,} of {len(due):,} parts")
        self._complete()
        built = Indexed(folder=str(self.folder))
        for part in known_parts(self.db, self.folder):
            if part.refused:
                built.refused[part.path.name] = part.refused
            else:
                built.parts += 1
                built.rows += part.rows
                built.added += part.path.name not in same
        return built

    def _groups(self, due: Sequence[File]) -> Iterator[list[Part]]:
        """Yield groups of parts with the same layout, without parts that cannot be read.

        The reason why a part cannot be read is recorded in the index.
        """
        group: list[Part] = []
        rows = 0
        for file in due:
            try:
                part = new_part(file, self.framework)
            except InputError as exc:
                self._refuse(file, exc.message)
                continue
            kinds = {(one.id_column, one.has_errors) for one in group}
            full = rows + part.rows > GROUP_ROWS or len(group) >= GROUP_PARTS
            if group and (full or kinds != {(part.id_column, part.has_errors)}):
                yield group
                group, rows = [], 0
            group.append(part)
            rows += part.rows
        if group:
            yield group

    def _add(self, group: Sequence[Part]) -> None:
        """Index parts in one transaction.

        If a part cannot be read, the parts are indexed one by one, and the reason is recorded for
        the unreadable part.
        """
        import duckdb

        try:
            self._write(group)
        except duckdb.Error as exc:
            if len(group) > 1:
                for one in group:
                    self._add([one])
            else:
                self._refuse(group[0].file, f"cannot be read ({first_line(exc)})")

    def _write(self, group: Sequence[Part]) -> None:
        with transaction(self.db):
            parts = self._numbered(group)
            name = f"facts-{parts[0].id}.parquet"
            target = place_of(self.folder, self.framework) / name
            years = write_facts(self.duckdb, parts, self.framework, target)
            self.db.executemany(
                "INSERT OR IGNORE INTO years VALUES (?)",
                [(UNKNOWN_YEAR if year is None else year,) for year in years],
            )
            self.db.executemany(
                "INSERT INTO moves_fts (rowid, text, facets) VALUES (?, ?, ?)", self._moves(parts)
            )
            for part in parts:
                self._insert(replace(part, facts=name))

    def _numbered(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts with new ids, and store the last ids, so that no id is used again."""
        last, past = (self._get(name) for name in ("given", "past"))
        numbered = []
        for number, part in enumerate(parts, start=last + 1):
            numbered.append(replace(part, id=number, first=past))
            past += part.rows
        self._set("given", last + len(numbered))
        self._set("past", past)
        return numbered

    def _moves(self, parts: Sequence[Part]) -> Iterator[tuple[int, str, str]]:
        """Yield the row of `moves_fts` for each stated move: rowid, text and facet words."""
        moves = [word("move", move) for move in self.framework.names]
        unstated, count = self.framework.not_stated, len(moves)
        rows = texts_of(self.duckdb, parts, self.framework)
        for number, (row_id, published, categories, moved) in enumerate(rows):
            if number % FETCHED == 0:
                self.check()
            of_paper, begin = paper_words(year_of(published), categories), row_id * count
            for place, text in enumerate(moved):
                if text != unstated:
                    yield begin + place, text, f"{moves[place]} {of_paper}"

    def _complete(self) -> None:
        """Determine current rows, show new parts to readers, and delete unused files of facts."""
        self.tick("looking for papers in several parts")
        parts = [part for part in known_parts(self.db, self.folder) if not part.refused]
        place = place_of(self.folder, self.framework)
        names = list(dict.fromkeys(part.facts for part in parts))
        found = []
        if parts:
            ids = [part.id for part in parts]
            found = find_repeats(self.duckdb, [place / name for name in names], ids)
        with transaction(self.db):
            self.db.execute("DELETE FROM repeats")
            self.db.executemany("INSERT INTO repeats VALUES (?, ?, ?)", found)
            self._set("last", self._get("given"))
        for path in place.glob("facts-*.parquet"):
            if path.name not in names:
                path.unlink()

    def _refuse(self, file: File, reason: str) -> None:
        with transaction(self.db):
            [part] = self._numbered([Part(file, refused=reason)])
            self._insert(part)

    def _insert(self, part: Part) -> None:
        file = (part.path.name, part.file.size, part.file.mtime_ns)
        values = (part.first, part.rows, part.id_column, part.facts, part.refused)
        self.db.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (part.id, *file, *values)
        )

    def _get(self, name: str) -> int:
        [(value,)] = self.db.execute("SELECT value FROM about WHERE name = ?", [name])
        return int(value)

    def _set(self, name: str, value: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [name, str(value)])


def write_facts(
    db: duckdb.DuckDBPyConnection, parts: Sequence[Part], framework: Framework, target: Path
) -> list[int | None]:
    """Write the facts about parts with the same layout, and return the years of the papers.

    Each year is returned once; None stands for papers without a year.

    Raises:
        duckdb.Error: a part cannot be read, or contains invalid JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    years = set()
    read = db.sql(_of_rows(parts, framework)).fetch_record_batch(FACTS)
    empty = pa.RecordBatch.from_pylist([], schema=read.schema)
    schema = _completed(empty, len(framework.names)).schema
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in read:
            table = _completed(batch, len(framework.names))
            writer.write_table(table)
            years.update(table["year"].unique().to_pylist())
    return list(years)


def _of_rows(parts: Sequence[Part], framework: Framework) -> str:
    """Return the SQL query for the facts about rows; `_completed` adds facts computed in Python."""
    supports = [f"support.{sql_name(move)}" for move in framework.names]
    columns = ", ".join(f"{one} AS support_{i}" for i, one in enumerate(supports))
    unstated = sql_text(framework.not_stated)
    stated = ", ".join(
        f"CASE WHEN {sql_name(move)} <> {unstated} THEN {sql_text(move)} END"
        for move in framework.names
    )
    error = "error" if parts[0].has_errors else "''"
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
        SELECT first + file_row_number AS id, part, {sql_name(parts[0].id_column)} AS source_id,
            {parts[0].id_field == "arxiv_id"} AS arxiv, known[3] AS digest,
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
    """Return a batch of `_of_rows` as a table, with the facts that are computed in Python."""
    import pyarrow as pa

    supports = zip(*(batch[f"support_{i}"].to_pylist() for i in range(moves)), strict=True)
    given = zip(batch["digest"].to_pylist(), batch["abstract"].to_pylist(), strict=True)
    digests = (sha256 or abstract_digest(abstract or "") for sha256, abstract in given)
    categories = batch["categories"].to_pylist()
    stored = dict(zip(batch.schema.names, batch.columns, strict=True))
    computed = {
        "digest": pa.array((int(one[:16], 16) for one in digests), pa.uint64()),
        "year": pa.array(map(year_of, batch["published"].to_pylist()), pa.int32()),
        "category": pa.array(map(first_category, categories), pa.utf8()),
        "categories": pa.array(map(folded_categories, categories), pa.list_(pa.utf8())),
        "support": pa.array(map(_mean, supports), pa.float64()),
    }
    return pa.table({**stored, **computed}).drop_columns(["abstract", "published"])


def folded_categories(text: str) -> list[str]:
    """Return the categories of a text, converted to lower case, since filters ignore case."""
    return [category.casefold() for category in split_categories(text)]


def _mean(supports: Sequence[float | None]) -> float | None:
    known = [support for support in supports if support is not None]
    return round(fmean(known), 3) if known else None


def texts_of(
    db: duckdb.DuckDBPyConnection, parts: Sequence[Part], framework: Framework
) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yield each annotation as row id, publication date, categories and texts of the moves."""
    error = "error = ''" if parts[0].has_errors else "TRUE"
    moves = ", ".join(map(sql_name, framework.names))
    found = db.execute(
        "SELECT filename, file_row_number, published, categories,"
        f" {moves} FROM {_read(parts)} WHERE {error} AND provenance NOT IN ('', '{{}}')"
    )
    first = {str(part.path): part.first for part in parts}
    while rows := found.fetchmany(FETCHED):
        for path, position, published, categories, *moved in rows:
            yield first[path] + position, published, categories, moved


def find_repeats(
    db: duckdb.DuckDBPyConnection, paths: Sequence[Path], parts: Sequence[int]
) -> list[tuple[int, int, bool]]:
    """Return the rows that are not the first row of their paper, or are not current.

    As in the database, the latest annotation of a paper is current. If several annotations have the
    same time, the last row is current. Versions of an arXiv abstract have separate paper numbers,
    but only the latest annotation of all versions is current. The latest failure of a paper is
    current if the paper has no current annotation.

    Returns:
        A tuple for each row: the id of the row, the number of its paper, and True if the row is
        current.
    """
    sql = f"""
        WITH known AS (
            SELECT id, source_id, digest, arxiv, annotated, created
            FROM read_parquet({sql_files(paths)}) WHERE part IN ({", ".join(map(str, parts))})
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


def _read(parts: Sequence[Part]) -> str:
    paths = sql_files(part.path for part in parts)
    return f"read_parquet({paths}, filename=true, file_row_number=true)"


def _rows(parts: Sequence[Part]) -> str:
    """Return SQL for the rows of parts.

    The additional columns `part` and `first` are `Part.id` and `Part.first` of the row's part.
    """
    known = ", ".join(f"({sql_text(str(one.path))}, {one.id}, {one.first})" for one in parts)
    return f"{_read(parts)} JOIN (VALUES {known}) AS of(path, part, first) ON path = filename"


def _count(of: str) -> str:
    """Return SQL for the total length of the lists in a JSON object."""
    lengths = f"list_transform(json_keys({of}), lambda key: json_array_length({of}, '$.' || key))"
    return f"CASE WHEN {of} IS NULL OR {of}::VARCHAR = '{{}}' THEN 0 ELSE list_sum({lengths}) END"


def _keys(of: str) -> str:
    return f"CASE WHEN {of}::VARCHAR <> '{{}}' THEN json_keys({of}) ELSE [] END"
