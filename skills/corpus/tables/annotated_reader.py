"""The rows of a file for the corpus: papers, their moves, and where those come from if it says so.

Tables are read by tables.py. What was saved here has a column `provenance` besides: an object in
.jsonl, JSON in a string in .parquet. The .jsonl has no abstracts, since the corpus has them: it is
looked up there by id and by the abstract's sha256.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.db import papers
from skills.corpus.tables.columns import ID_NAMES
from skills.corpus.tables.files import place, regular_file, text_lines
from skills.corpus.tables.jsonl_reader import JsonlReader
from skills.corpus.tables.reader import Columns, bare_arxiv_id, open_table
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    from sqlite_utils import Database

PROVENANCE = "provenance"
_SAVED = "Each line is one annotation as `save to FILE.jsonl` writes it."


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        where: the row for people.
        moves: one text for each move, as the file writes it; None where it lacks a move's column.
        lacks: the moves that have no column.
        provenance: what the file says of the annotation; None where it says nothing.
        repeat: an earlier row has the same id and abstract.
    """

    where: str
    paper: Paper
    moves: Mapping[str, str] | None
    provenance: Mapping[str, Any] | None = None
    repeat: bool = False
    lacks: tuple[str, ...] = ()


def entries(db: Database, path: Path, framework: Framework, columns: Columns) -> Iterator[Entry]:
    """All rows of a file, in order.

    Raises:
        InputError: it cannot be read, naming the row; or an abstract is neither in it nor in `db`.
    """
    if path.suffix.lower() == ".jsonl" and columns.abstract is None:
        names = JsonlReader(regular_file(path)).header()
        if PROVENANCE in names and "abstract" not in map(str.casefold, names):
            yield from _without_abstracts(db, path.expanduser(), framework)
            return
    table = open_table(path, columns, moves=framework.names)
    said: Iterator[Any] = itertools.repeat(None)
    if PROVENANCE in table.columns:
        said = _provenances(table.path)
    for row, provenance in zip(table.rows(), said, strict=False):
        lacks = tuple(name for name in framework.names if name not in row.moves)
        paper = row.paper
        if isinstance(provenance, dict) and table.id_column == "id" and bare_arxiv_id(paper.id):
            paper = replace(paper, id_field="arxiv_id")  # saved here, beside papers of other ids
        yield Entry(
            row.where,
            paper,
            None if lacks else row.moves,
            provenance if isinstance(provenance, dict) else None,
            row.repeat,
            lacks,
        )


def _provenances(path: Path) -> Iterator[Any]:
    """The column `provenance` alone, a value for each row."""
    if path.suffix.lower() == ".jsonl":
        return (json.loads(line).get(PROVENANCE) for line in text_lines(path) if line.strip())
    if path.suffix.lower() == ".parquet":
        return _parquet_provenances(path)
    return itertools.repeat(None)


def _parquet_provenances(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(256, columns=[PROVENANCE], use_threads=False):
            for text in batch.column(0).to_pylist():
                try:
                    yield json.loads(text) if isinstance(text, str) else None
                except ValueError:
                    yield None


def _without_abstracts(db: Database, path: Path, framework: Framework) -> Iterator[Entry]:
    seen = set()
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            where = place(path, "line", number)
            source = {"kind": "table", "path": shown(path), "row": str(number)}
            entry = _saved(db, _json_object(line, where), where, source, framework)
            paper = entry.paper
            identity = (paper.id_field, paper.id, paper.sha256)
            yield replace(entry, repeat=identity in seen)
            seen.add(identity)


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"is not JSON ({exc})", where=where, hint=_SAVED) from exc
    if not isinstance(found, dict):
        raise InputError("is no JSON object", where=where, hint=_SAVED)
    return found


def _saved(
    db: Database,
    record: Mapping[str, Any],
    where: str,
    source: Mapping[str, str],
    framework: Framework,
) -> Entry:
    """A line as it was saved here, with the abstract that the corpus has for it."""
    id_field = next((name for name in ID_NAMES if isinstance(record.get(name), str)), None)
    provenance = record.get(PROVENANCE)
    moves = {name: record.get(name) for name in framework.names}
    wrong = [name for name, text in moves.items() if not isinstance(text, str)]
    if id_field is None or not isinstance(provenance, dict) or wrong:
        what = f"move {wrong[0]}" if wrong else "provenance" if id_field else "id"
        raise InputError(f"has no abstract and no {what}", where=where, hint=_SAVED)
    made_from = provenance.get("input")
    digest = made_from.get("sha256") if isinstance(made_from, dict) else None
    row = papers.look_up(db, record[id_field], id_field, str(digest))
    if row is None:
        raise InputError(
            f"the corpus has no paper {record[id_field]} with the abstract of this annotation",
            where=where,
            hint="Add the table of papers first; a .parquet file has the abstracts with it.",
        )
    paper = papers.paper_of(row, source)
    return Entry(where, paper, cast("dict[str, str]", moves), provenance)
