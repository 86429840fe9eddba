"""Read papers, annotations and failures from the corpus database."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from skills.corpus.db.papers import failure_of, paper_of, row_id
from skills.corpus.db.rows import Row, one, stored_record
from skills.corpus.db.store import with_paper
from skills.corpus.records import Annotated, Failure
from skills.nanda.arxiv_id import find_arxiv_id
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

CHUNK = 500
"""Annotations read at once: their records are the bulk of the file."""


def current_ids(db: sqlite3.Connection, framework: Framework) -> list[int]:
    """Return the ids of all current annotations, in the order of their papers."""
    rows = db.execute(
        "SELECT id FROM annotations WHERE framework = ? AND current = 1 ORDER BY paper_id, id",
        [framework.name],
    )
    return [row["id"] for row in rows]


def annotated(
    db: sqlite3.Connection, framework: Framework, ids: Iterable[int]
) -> Iterator[Annotated]:
    """Yield the annotations of these ids, in their order, with few of them in memory.

    One that lacks a move of `framework` is omitted: it was made with an older version of it.
    """
    wanted = iter(ids)
    while chunk := list(itertools.islice(wanted, CHUNK)):
        rows = db.execute(
            "SELECT annotations.id AS annotation_id, record, papers.* FROM annotations"
            " JOIN papers ON papers.id = paper_id"
            " WHERE annotations.id IN (SELECT value FROM json_each(?))",
            [json.dumps(chunk)],
        )
        found = {row["annotation_id"]: row for row in rows}
        for row in (found[i] for i in chunk if i in found):
            item = _annotated(row)
            if all(name in item.record for name in framework.names):
                yield item


def current(db: sqlite3.Connection, paper: Paper, framework: Framework) -> Annotated | None:
    """Return the current annotation of `paper`, or None."""
    row = one(
        db,
        "SELECT id FROM annotations WHERE paper_id = ? AND framework = ? AND current = 1",
        [row_id(db, paper), framework.name],
    )
    return None if row is None else next(annotated(db, framework, [row["id"]]), None)


def failures(db: sqlite3.Connection) -> Iterator[Failure]:
    """Yield the newest failure of each paper that has no current annotation."""
    rows = db.execute(
        "SELECT error_type, reason, retryable, raw_reply, papers.* FROM failures"
        " JOIN papers ON papers.id = paper_id"
        " WHERE failures.id IN (SELECT max(id) FROM failures GROUP BY paper_id)"
        " AND NOT EXISTS (SELECT 1 FROM annotations"
        "   WHERE annotations.paper_id = failures.paper_id AND current = 1)"
        " ORDER BY papers.id"
    )
    for row in rows:
        yield failure_of(row, paper_of(row))


def with_moves(
    db: sqlite3.Connection, paper: Paper, moves: Mapping[str, str], framework: Framework
) -> tuple[int, Annotated] | None:
    """Return the newest annotation of `paper` with exactly these moves, with its id."""
    rows = db.execute(
        "SELECT id FROM annotations WHERE paper_id = ? AND framework = ? ORDER BY id DESC",
        [row_id(db, paper), framework.name],
    )
    for row in rows.fetchall():
        for item in annotated(db, framework, [row["id"]]):
            if all(item.record[name] == moves[name] for name in framework.names):
                return row["id"], item
    return None


@dataclass(frozen=True, slots=True)
class StoredPaper:
    """A paper with all that the database has about it.

    Attributes:
        row_id: its id in papers.
        annotations: the current ones, one for each framework.
        failure: the newest one, if the annotation is missing.
    """

    row_id: int
    paper: Paper
    annotations: tuple[Annotated, ...]
    failure: Failure | None


def find(db: sqlite3.Connection, wanted: str) -> list[StoredPaper]:
    """Return the papers with this source id, else the one with this id in papers.

    An arXiv id may have its version, "arXiv:" or a URL.
    """
    rows = db.execute("SELECT * FROM papers WHERE source_id = ? ORDER BY id", [wanted]).fetchall()
    if not rows and wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        rows = db.execute("SELECT * FROM papers WHERE id = ?", [int(wanted)]).fetchall()
    if not rows and (arxiv_id := find_arxiv_id(wanted, allow_bare=True)) not in (None, wanted):
        return find(db, str(arxiv_id))
    return [_stored_paper(db, row) for row in rows]


def listed(db: sqlite3.Connection, after: int, most: int) -> list[Row]:
    """Return id, source id, title and year of papers, in the order of their ids.

    Args:
        after: the id of the last one that the caller has, or 0.
    """
    return db.execute(
        "SELECT id, source_id, title, year FROM papers WHERE id > ? ORDER BY id LIMIT ?",
        [after, most],
    ).fetchall()


def numbered(db: sqlite3.Connection, number: int) -> StoredPaper | None:
    """Return the paper with this id in papers."""
    row = one(db, "SELECT * FROM papers WHERE id = ?", [number])
    return None if row is None else _stored_paper(db, row)


def id_column(db: sqlite3.Connection, ids: Iterable[int]) -> str:
    """Return the name of the ids of these annotations' papers, "id" if there are several."""
    rows = db.execute(
        "SELECT DISTINCT id_field FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE annotations.id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(ids))],
    ).fetchall()
    return str(rows[0]["id_field"]) if len(rows) == 1 else "id"


def _stored_paper(db: sqlite3.Connection, row: Row) -> StoredPaper:
    made = db.execute(
        "SELECT record, papers.* FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE paper_id = ? AND current = 1 ORDER BY framework",
        [row["id"]],
    ).fetchall()
    failed = one(
        db, "SELECT * FROM failures WHERE paper_id = ? ORDER BY id DESC LIMIT 1", [row["id"]]
    )
    paper = paper_of(row)
    failure = failure_of(failed, paper) if failed and not made else None
    return StoredPaper(row["id"], paper, tuple(map(_annotated, made)), failure)


def _annotated(row: Row) -> Annotated:
    record = stored_record(row["record"])
    made_from = record["provenance"]["input"]
    source = {key: value for key, value in made_from.items() if key != "sha256"}
    paper = paper_of(row, source)
    return Annotated(paper, with_paper(paper, record, paper.abstract))
