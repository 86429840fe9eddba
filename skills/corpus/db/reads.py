"""Papers, annotations and failures as the database hands them out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.corpus.db.papers import failure_of, known, paper_of
from skills.corpus.db.store import under
from skills.corpus.records import Annotated, Failure
from skills.nanda.arxiv_id import find_arxiv_id
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    from sqlite_utils import Database

    Row = Mapping[str, Any]

CHUNK = 500
"""Annotations read at once: their records are the bulk of the file, and few fit in memory."""


def current_ids(db: Database, framework: Framework) -> list[int]:
    """The ids of all current annotations, in the order in which their papers came."""
    rows = db.conn.execute(
        "SELECT id FROM annotations WHERE framework = ? AND current = 1 ORDER BY paper_id, id",
        [framework.name],
    )
    return [row["id"] for row in rows]


def annotated(db: Database, framework: Framework, ids: Iterable[int]) -> Iterator[Annotated]:
    """The annotations of these ids, in their order, few of them in memory at a time.

    One that lacks a move of `framework` is left out: a framework of the same name had other moves
    when it was made.
    """
    wanted = iter(ids)
    while chunk := list(itertools.islice(wanted, CHUNK)):
        rows = db.conn.execute(
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


def current(db: Database, paper: Paper, framework: Framework) -> Annotated | None:
    """The current annotation of `paper`, if it has one."""
    row = db.conn.execute(
        "SELECT id FROM annotations WHERE paper_id = ? AND framework = ? AND current = 1",
        [known(db, paper), framework.name],
    ).fetchone()
    return None if row is None else next(annotated(db, framework, [row["id"]]), None)


def failures(db: Database) -> Iterator[Failure]:
    """The papers that have no current annotation but a failure, each with its newest one."""
    rows = db.conn.execute(
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
    db: Database, paper: Paper, moves: Mapping[str, str], framework: Framework
) -> tuple[int, Annotated] | None:
    """The newest annotation of `paper` that says exactly this, with its id."""
    rows = db.conn.execute(
        "SELECT id FROM annotations WHERE paper_id = ? AND framework = ? ORDER BY id DESC",
        [known(db, paper), framework.name],
    )
    for row in rows.fetchall():
        for item in annotated(db, framework, [row["id"]]):
            if all(item.record[name] == moves[name] for name in framework.names):
                return row["id"], item
    return None


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept of one paper.

    Attributes:
        row_id: its number in papers.
        annotations: the current ones, one for each framework it was annotated with.
        failure: the newest one, where there is no annotation.
    """

    row_id: int
    paper: Paper
    annotations: tuple[Annotated, ...]
    failure: Failure | None


def find(db: Database, asked: str) -> list[Kept]:
    """The papers with this id of their source, else the one with this number in papers.

    An id of arXiv may have its version, "arXiv:" or an address with it.
    """
    rows = db.conn.execute(
        "SELECT * FROM papers WHERE source_id = ? ORDER BY id", [asked]
    ).fetchall()
    if not rows and asked.isascii() and asked.isdigit() and len(asked) < 19:
        rows = db.conn.execute("SELECT * FROM papers WHERE id = ?", [int(asked)]).fetchall()
    if not rows and (arxiv_id := find_arxiv_id(asked, alone=True)) not in (None, asked):
        return find(db, str(arxiv_id))
    return [_kept(db, row) for row in rows]


def _kept(db: Database, row: Row) -> Kept:
    made = db.conn.execute(
        "SELECT record, papers.* FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE paper_id = ? AND current = 1 ORDER BY framework",
        [row["id"]],
    ).fetchall()
    failed = db.conn.execute(
        "SELECT * FROM failures WHERE paper_id = ? ORDER BY id DESC LIMIT 1", [row["id"]]
    ).fetchone()
    paper, failure = paper_of(row), None
    if failed is not None and not made:
        failure = failure_of(failed, paper)
    return Kept(row["id"], paper, tuple(map(_annotated, made)), failure)


def _annotated(row: Row) -> Annotated:
    record = json.loads(row["record"])
    made_from = record["provenance"]["input"]
    source = {key: value for key, value in made_from.items() if key != "sha256"}
    paper = paper_of(row, source)
    return Annotated(paper, under(paper, record))


def id_column(db: Database, ids: Iterable[int]) -> str:
    """What the papers of these annotations call their id; "id" where they differ."""
    rows = db.conn.execute(
        "SELECT DISTINCT id_field FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE annotations.id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(ids))],
    ).fetchall()
    return str(rows[0]["id_field"]) if len(rows) == 1 else "id"
