"""Import papers into the corpus, with their annotations if the table contains them.

The .jsonl and .parquet files of the harness contain the provenance of each annotation. The import
keeps a valid provenance, with its content key. Other annotations get the provenance of an import.
The file is read completely before rows are added, so that an unreadable file does not change the
corpus. An invalid row is refused; the other rows are added.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness._version import __version__
from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.db import completion, merging, papers, store
from skills.corpus.db.damage import verify
from skills.corpus.outputs import Added
from skills.corpus.records import IMPORT, Annotated, Failure, key_of, record_of
from skills.corpus.table import Columns, SeenIds, Table, TableRow, open_table
from skills.corpus.tables.refusals import Refusals, accepted, refusing
from skills.nanda.anchors import read_anchors
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.reporting.outputs import RefusedRow

TICK_ROWS = 100
"""Number of rows between two progress messages."""


def add(
    db: sqlite3.Connection,
    path: Path,
    framework: Framework,
    columns: Columns | None = None,
    *,
    refusals: Refusals | None = None,
    limit: int | None = None,
    tick: Callable[[str], None] = lambda status: None,
    notice: Callable[[str], None] = lambda _: None,
) -> Added:
    """Import a table of papers, and return the numbers of added, known and refused rows.

    Annotations are imported if the table has a column for each move.

    Args:
        framework: the framework of the annotations.
        columns: column names from options; None to find all columns by name.
        refusals: receives the errors of refused rows; None if the caller does not need the errors.
        limit: maximum number of rows; None for all.
        tick: called with the progress.
        notice: called with assumptions about the file, and with the columns that are not read.

    Raises:
        InputError: the file cannot be read, lacks a column, or has no row that can be added. The
            corpus is not changed.
    """
    table = open_table(
        path, columns, moves=framework.names, limit=limit, abstract_by="provenance", notice=notice
    )
    added, refusals = Added(), Refusals() if refusals is None else refusals
    if missing := table.missing_moves:
        if not table.has_abstracts:
            table.require_moves()
        if len(missing) < len(framework.names):
            added.lacks = list(missing)
        table = open_table(path, columns, limit=limit)
    count = _validate(db, table, framework, tick)
    rows = accepted(complete_rows(db, table), refusals.add)
    merged = merging.count_merged(db)
    for number, row in enumerate(rows, start=1):
        before = added.model_copy()
        with refusing(row.where) as refused:
            _add(db, row, framework, added)
        if refused.error:
            added = before
            refusals.add(refused.error)
        if number % TICK_ROWS == 0:
            tick(f"{number:,} of {count:,} rows")
    added.merged = merging.count_merged(db) - merged
    added.refused = [RefusedRow(**row) for row in refusals.as_json()]
    return added


def annotated(row: TableRow, framework: Framework) -> Annotated | None:
    """Return the annotation of a row as an import stores it, or None if the row has no moves.

    Raises:
        InputError: a move is invalid, or the annotation was made with another framework.
    """
    if not row.has_moves:
        return None
    moves = row.valid_moves(framework)
    return _annotated(row, moves, framework, _provenance(row, moves, framework))


def _validate(
    db: sqlite3.Connection, table: Table, framework: Framework, tick: Callable[[str], None]
) -> int:
    """Check all rows of a table, and return the number of rows that can be read.

    Raises:
        InputError: no row can be added.
    """
    rows, usable, refused = 0, False, Refusals()
    for rows, row in enumerate(accepted(complete_rows(db, table), refused.add), start=1):
        with refusing(row.where) as invalid:
            if row.has_moves and row.paper.abstract:
                row.valid_moves(framework)
        if invalid.error:
            refused.add(invalid.error)
        usable = usable or (bool(row.paper.abstract) and not invalid.error)
        if rows % TICK_ROWS == 0:
            tick(f"{rows:,} rows read")
    if not usable:
        refused.raise_first()
        raise InputError(
            "no row has an abstract" if rows else "has no rows below its header",
            where=shown(table.path),
        )
    return rows


def _add(db: sqlite3.Connection, row: TableRow, framework: Framework, added: Added) -> None:
    """Add a row to the corpus, and count the row in `added`."""
    if not row.paper.abstract:
        added.empty += 1
        added.awaited += completion.await_abstract(db, row.paper)
        return
    if row.repeat:
        added.repeated += 1
        return
    paper_id = papers.row_id(db, row.paper)
    added.known_papers += paper_id is not None
    added.papers += paper_id is None
    if row.error is not None and _add_failure(db, row.paper, row.error):
        added.failures += 1
        return
    if not row.has_moves:
        added.without_moves += 1
        papers.save(db, row.paper)
        return
    moves = row.valid_moves(framework)
    provenance = _provenance(row, moves, framework)
    added.renamed += row.provenance is not None and provenance is not row.provenance
    if paper_id is not None and store.has(db, provenance["key"], paper_id):
        added.known_annotations += 1
        papers.save(db, row.paper)
        return
    item = _annotated(row, moves, framework, provenance)
    store.save(db, item, framework, unless_newer=True)
    added.annotations += 1


def _add_failure(db: sqlite3.Connection, paper: Paper, error: Mapping[str, Any]) -> bool:
    """Store a failed annotation, unless the corpus already has a result for the content key.

    If `error` lacks a text that a failure needs, nothing is stored and False is returned.
    Otherwise, True is returned.

    Args:
        error: a value of the column "error" of a part.
    """
    given = (error.get(name) for name in ("key", "error_type", "reason", "raw_reply"))
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) != 4:
        return False
    key, kind, reason, reply = texts
    if store.state(db, key) is None:
        failure = Failure(paper, kind, reason, error.get("retryable") is True, reply)
        store.fail(db, failure, key, request={})
    return True


def _annotated(
    row: TableRow, moves: Mapping[str, str], framework: Framework, provenance: Mapping[str, Any]
) -> Annotated:
    """Return the annotation of a row.

    Anchors, confidence, suggestions and sections of the row are used only if `provenance` is the
    provenance of the row.
    """
    if provenance is not row.provenance:
        row = replace(row, anchors=None, confidence=None, suggestions=None, sections=None)
    paper = row.paper
    anchors = read_anchors(paper.abstract, framework.stated(moves), row.anchors)
    record = record_of(
        paper, moves, framework, provenance, anchors, row.confidence, row.sections, row.suggestions
    )
    return Annotated(paper, record)


def _provenance(row: TableRow, moves: Mapping[str, str], framework: Framework) -> Mapping[str, Any]:
    """Return a row's provenance if it is complete and consistent, else an import's provenance.

    An import's provenance names the file. The content key of an import includes the digest of the
    moves, since the model and the settings are unknown.
    """
    paper, own = row.paper, row.provenance
    imported: dict[str, Any] = {
        "requested": IMPORT,
        "resolved": IMPORT,
        "reason": None,
        "backend": IMPORT,
        "where": Path(paper.source.get("path", "")).name,
        "digests": {},
        "form": "json",
        "framework": framework.identity,
        "prompt_sha256": None,
        "schema_sha256": None,
        "moves_sha256": sha256_of(dict(moves)),
        "sampling": {},
        "attempts": 0,
        "tokens": {"prompt": 0, "cached": 0, "completion": 0},
        "seconds": 0.0,
        "harness": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": {**paper.source, "sha256": paper.sha256},
    }
    imported["key"] = key_of(imported)
    if own is None or not imported.keys() - {"moves_sha256"} <= own.keys():
        return imported
    texts = (own["resolved"], own["created"])
    wrong = verify({**moves, "provenance": own}, paper.abstract)
    return imported if wrong or not all(isinstance(text, str) for text in texts) else own


def complete_rows(
    db: sqlite3.Connection, table: Table
) -> Generator[TableRow | InputError, None, None]:
    """Yield the rows of a table, with abstracts from the corpus if the table has no abstracts.

    For a row that cannot be read, an error is yielded instead. If the table has no column of
    abstracts, an error is also yielded for a row whose abstract the corpus does not contain.

    Args:
        table: a table with a column of abstracts, or a table that was opened with
            `abstract_by="provenance"`.
    """
    if table.has_abstracts:
        yield from table.rows_or_errors()
        return
    with SeenIds() as seen:
        for number, row in enumerate(table.rows_or_errors()):
            if isinstance(row, InputError):
                yield row
                continue
            with refusing(row.where) as refused:
                paper = _look_up(db, row)
            if refused.error:
                yield refused.error
                continue
            identity = f"{paper.id_field}:{paper.id}:{paper.sha256}"
            first, _ = seen.first(identity, number, b"")
            yield replace(row, paper=paper, repeat=first != number)


def _look_up(db: sqlite3.Connection, row: TableRow) -> Paper:
    """Return the paper of a row without an abstract, with the abstract from the corpus.

    Raises:
        InputError: the row has no id or no provenance, or the corpus does not contain the paper.
    """
    paper = row.paper
    if not paper.id or not row.abstract_sha256:
        raise InputError(
            f"has no abstract and no {'provenance' if paper.id else 'id'}",
            where=row.where,
            hint="Each line must be an annotation as `save to FILE.jsonl` writes it.",
        )
    found = papers.look_up(db, paper.id, paper.id_field, row.abstract_sha256)
    if found is None:
        raise InputError(
            f"the corpus has no paper {paper.id} with the abstract of this annotation",
            where=row.where,
            hint="Add the table of papers first; a .parquet file includes the abstracts.",
        )
    return papers.paper_of(found, paper.source)
