"""Read papers, annotations and failures from the corpus database."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from skills.corpus.db.completion import TEXTS, looked_up, stated_together
from skills.corpus.db.merging import (
    identifiers_of,
    pairs,
    representing_row,
    rows_with_annotations,
    rows_with_identifiers,
)
from skills.corpus.db.papers import failure_of, paper_of, row_id
from skills.corpus.db.rows import Row, one, stored_record
from skills.corpus.db.store import with_paper
from skills.corpus.identity.identifiers import identifiers
from skills.corpus.outputs import LookedUp, Pair, PaperDetails, StoredFailure
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, find_arxiv_id

CHUNK = 500
"""Number of annotations in memory: their records are the bulk of the file."""
FAILED = (
    " FROM failures JOIN papers ON papers.id = paper_id"
    " WHERE failures.id IN (SELECT max(id) FROM failures GROUP BY paper_id)"
    " AND NOT EXISTS (SELECT 1 FROM annotations"
    "   WHERE annotations.paper_id = failures.paper_id AND current = 1)"
    " AND NOT EXISTS (SELECT 1 FROM duplicates JOIN annotations"
    "   ON annotations.paper_id IN (duplicates.paper_id, other_id) AND current = 1"
    "   WHERE relation = 'same' AND failures.paper_id IN (duplicates.paper_id, other_id))"
)
"""SQL for the newest failure of each paper that has no current annotation."""


def annotated(
    db: sqlite3.Connection, framework: Framework, ids: Iterable[int]
) -> Iterator[Annotated]:
    """Yield the annotations of these ids, in their order, with few of them in memory.

    An annotation that lacks a move of `framework` is omitted: an older version of it made it.
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
        stated = stated_together(db, (row["id"] for row in found.values()))
        for row in (found[i] for i in chunk if i in found):
            item = _annotated(row, stated.get(row["id"], {}))
            if all(name in item.record for name in framework.names):
                yield item


def confidences(
    db: sqlite3.Connection, framework: Framework, ids: Iterable[int]
) -> Iterator[tuple[int, str, object]]:
    """Yield the id, the paper's source id and the stored "confidence" of the same annotations.

    SQLite reads them from the records, which takes a tenth of the time of `annotated`.
    """
    rows = db.execute(
        "SELECT annotations.id, source_id, json_extract(record, '$.confidence') AS confidence"
        " FROM json_each(?) AS wanted CROSS JOIN annotations ON annotations.id = wanted.value"
        " JOIN papers ON papers.id = paper_id"
        " WHERE NOT EXISTS (SELECT 1 FROM json_each(?) AS move"
        "   WHERE json_type(record, '$.' || move.value) IS NULL)"
        " ORDER BY wanted.key",
        [json.dumps(list(ids)), json.dumps(framework.names)],
    )
    for row in rows:
        stored = row["confidence"]
        yield row["id"], row["source_id"], json.loads(stored) if isinstance(stored, str) else None


def current(db: sqlite3.Connection, paper: Paper, framework: Framework) -> Annotated | None:
    """Return the current annotation of `paper`, or None.

    If another row of the same paper has the current one, the newest of this abstract is returned.
    """
    row = one(
        db,
        "SELECT id FROM annotations WHERE paper_id = ? AND framework = ?"
        " ORDER BY current DESC, created_at DESC, id DESC LIMIT 1",
        [row_id(db, paper), framework.name],
    )
    return None if row is None else next(annotated(db, framework, [row["id"]]), None)


def failures(db: sqlite3.Connection) -> Iterator[Failure]:
    """Yield the newest failure of each paper that has no current annotation."""
    columns = "SELECT error_type, reason, retryable, raw_reply, papers.*"
    for row in db.execute(f"{columns}{FAILED} ORDER BY papers.id"):
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
    """A paper with everything that the database has about it.

    Attributes:
        row_id: its id in papers.
        annotations: the current annotation of each framework.
        failure: the newest failure, if there is no annotation.
        identifiers: its DOI, arXiv id, PMID and OpenAlex id, by kind.
        pairs: with the rows that it was merged or linked with, or split from.
        facts: the facts that were looked up.
    """

    row_id: int
    paper: Paper
    annotations: tuple[Annotated, ...]
    failure: Failure | None
    identifiers: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    facts: LookedUp = field(default_factory=LookedUp)

    def details(self) -> PaperDetails:
        """Return the paper as a result of /corpus."""
        paper, failed = self.paper, self.failure
        return PaperDetails(
            id_field=paper.id_field,
            id=paper.id,
            row=self.row_id,
            title=paper.title,
            authors=paper.authors,
            published=paper.published,
            categories=paper.categories,
            abstract=paper.abstract,
            annotations=[dict(item.record) for item in self.annotations],
            failure=failed
            and StoredFailure(
                error_type=failed.error_type,
                reason=failed.reason,
                retryable=failed.retryable,
                raw_reply=failed.raw_reply,
            ),
            identifiers=dict(self.identifiers),
            duplicates=list(self.pairs),
            **self.facts.model_dump(),
        )


def find(db: sqlite3.Connection, wanted: str) -> list[StoredPaper]:
    """Return the papers that `wanted` identifies (`rows_of`), of any source.

    If another row of the same paper has the current annotation, that row is returned.
    """
    shown = rows_with_annotations(db, rows_of(db, wanted))
    return [found for found in (numbered(db, row) for row in shown) if found]


def rows_of(db: sqlite3.Connection, wanted: str) -> list[int]:
    """Return the rows with this source id, else with this id in papers, else with this identifier.

    An identifier is a DOI, arXiv id, PMID or OpenAlex id in any spelling. An arXiv id may have its
    version, "arXiv:" or a URL.
    """
    rows = db.execute("SELECT id FROM papers WHERE source_id = ? ORDER BY id", [wanted]).fetchall()
    if not rows and wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        rows = db.execute("SELECT id FROM papers WHERE id = ?", [int(wanted)]).fetchall()
    if rows:
        return [row["id"] for row in rows]
    arxiv_id = find_arxiv_id(wanted, allow_bare=True)
    found = rows_of(db, arxiv_id) if arxiv_id not in (None, wanted) else []
    return found or sorted(rows_with_identifiers(db, identifiers(wanted)))


def listed(db: sqlite3.Connection, after: int, most: int) -> list[Row]:
    """Return id, source id, title and year of papers, in the order of their ids.

    Of the rows of one paper, only its `representing_row` is listed.

    Args:
        after: the id of the last paper that the caller has, or 0.
    """
    listed: list[Row] = []
    while len(listed) < most:
        page = db.execute(
            "SELECT id, source_id, title, year FROM papers WHERE id > ? ORDER BY id LIMIT ?",
            [after, most - len(listed)],
        ).fetchall()
        if not page:
            break
        after = page[-1]["id"]
        listed += [row for row in page if representing_row(db, row["id"]) == row["id"]]
    return listed


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
    return StoredPaper(
        row["id"],
        paper,
        tuple(map(_annotated, made)),
        failure,
        identifiers_of(db, row["id"]),
        tuple(pairs(db, row["id"])),
        looked_up(db, row["id"]),
    )


def _annotated(row: Row, stated: Mapping[str, str] | None = None) -> Annotated:
    """Return an annotation; facts that its source did not state are taken from `stated`."""
    record = stored_record(row["record"])
    made_from = record["provenance"]["input"]
    own = {key: value for key, value in made_from.items() if key != "sha256" and value}
    more = dict(stated or {})
    if more.get("arxiv_id") == row["source_id"]:
        del more["arxiv_id"]
    texts = {name: more.pop(name, "") for name in TEXTS}
    paper = paper_of(row, {**more, **own})
    paper = replace(
        paper,
        title=paper.title or texts["title"],
        authors=paper.authors or texts["authors"],
        published=paper.published or texts["published"],
    )
    return Annotated(paper, with_paper(paper, record, paper.abstract))
