"""Read papers, annotations and failures from the corpus database."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields

from skills.corpus.db.completion import TEXTS, looked_up, stated_together
from skills.corpus.db.connection import transaction
from skills.corpus.db.merging import JOINED, identifiers_of, rows_with_identifiers
from skills.corpus.db.papers import failure_of, paper_of, row_id
from skills.corpus.db.rows import Row, current_annotations, insert, members, one, stored_record
from skills.corpus.db.store import with_paper
from skills.corpus.identity.identifiers import identifiers
from skills.corpus.outputs import LookedUp, Pair, PaperDetails, Side, StoredFailure
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.nanda.paper import METADATA, Paper, find_arxiv_id

CHUNK = 500
"""Maximum number of annotations that are read at a time, since their records take memory."""
FAILED = f"""
    FROM failures JOIN papers ON papers.id = paper_id
    WHERE failures.id IN (SELECT max(id) FROM failures GROUP BY paper_id)
    AND paper_id NOT IN (SELECT paper_id FROM annotations WHERE current = 1)
    AND paper_id NOT IN (SELECT joined.id FROM {JOINED} AS joined
        JOIN annotations ON annotations.paper_id = other AND current = 1)"""  # noqa: S608  not user input
"""SQL clauses that select the latest failure of each paper without a current annotation."""


def annotated(
    db: sqlite3.Connection, framework: Framework, ids: Iterable[int]
) -> Iterator[Annotated]:
    """Yield the annotations with these ids, in the order of `ids`.

    At most `CHUNK` annotations are in memory. An annotation by an older version of `framework` is
    omitted if it lacks a move of `framework`.
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
    """Yield the id, the source id and the confidences of annotations, in the order of `ids`.

    The confidences are a dictionary by move, or None. An annotation that lacks a move of
    `framework` is omitted. SQLite extracts the confidences from the records, in a tenth of the time
    that `annotated` takes.
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
    """Return the annotation of `paper` by `framework`, or None if there is no annotation.

    Only the row that contains `paper` is read. The row's current annotation is returned, or its
    latest annotation if the current annotation of the paper belongs to another row.
    """
    row = one(
        db,
        "SELECT id FROM annotations WHERE paper_id = ? AND framework = ?"
        " ORDER BY current DESC, created_at DESC, id DESC LIMIT 1",
        [row_id(db, paper), framework.name],
    )
    return None if row is None else next(annotated(db, framework, [row["id"]]), None)


def failures(db: sqlite3.Connection) -> Iterator[Failure]:
    """Yield the latest failure of each paper without a current annotation."""
    columns = "SELECT error_type, reason, retryable, raw_reply, papers.*"
    for row in db.execute(f"{columns}{FAILED} ORDER BY papers.id"):
        yield failure_of(row, paper_of(row))


def with_moves(
    db: sqlite3.Connection, paper: Paper, moves: Mapping[str, str], framework: Framework
) -> tuple[int, Annotated] | None:
    """Return the last stored annotation of `paper` with these moves, or None.

    The first value of the returned pair is the id of the annotation.
    """
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
    """A row of `papers`, with its annotations, failure, identifiers, pairs and facts.

    Attributes:
        row_id: the id of the row.
        annotations: the current annotations, one for each framework.
        failure: the latest failure; None if there is none, or if the row has a current annotation.
        identifiers: DOI, arXiv id, PMID and OpenAlex id, by kind.
        pairs: the pairs of this row and another row that were merged, linked or split.
        facts: facts from lookups at sources, such as the venue.
    """

    row_id: int
    paper: Paper
    annotations: tuple[Annotated, ...]
    failure: Failure | None
    identifiers: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    facts: LookedUp = field(default_factory=LookedUp)

    def details(self) -> PaperDetails:
        """Return the data in the form that /corpus prints and saves as JSON."""
        paper, failed = self.paper, self.failure
        return PaperDetails(
            id_field=paper.id_field,
            id=paper.id,
            row=self.row_id,
            abstract=paper.abstract,
            **{name: getattr(paper, name) for name in METADATA},
            annotations=[dict(item.record) for item in self.annotations],
            failure=failed and StoredFailure.model_validate(failed),
            identifiers=dict(self.identifiers),
            duplicates=list(self.pairs),
            **self.facts.model_dump(),
        )


def find(db: sqlite3.Connection, wanted: str) -> list[StoredPaper]:
    """Return the papers that `wanted` identifies; see `rows_of` for the accepted ids.

    A merged row is replaced by the annotated rows of its paper (see `rows_with_annotations`).
    """
    shown = rows_with_annotations(db, rows_of(db, wanted))
    return [found for found in (numbered(db, row) for row in shown) if found]


def rows_of(db: sqlite3.Connection, wanted: str) -> list[int]:
    """Return the ids of the rows that `wanted` identifies.

    `wanted` is compared with the ids that papers have in their tables or sources (`source_id`). If
    no id is equal, `wanted` is compared with the row ids, and then with the identifiers: DOI, arXiv
    id, PMID and OpenAlex id. An arXiv id may have a version or the prefix "arXiv:", or be a URL.
    """
    rows = db.execute("SELECT id FROM papers WHERE source_id = ? ORDER BY id", [wanted]).fetchall()
    if not rows and wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        rows = db.execute("SELECT id FROM papers WHERE id = ?", [int(wanted)]).fetchall()
    if rows:
        return [row["id"] for row in rows]
    arxiv_id = find_arxiv_id(wanted, allow_bare=True)
    found = rows_of(db, arxiv_id) if arxiv_id not in (None, wanted) else []
    return found or sorted(rows_with_identifiers(db, identifiers(wanted)))


def rows_with_annotations(db: sqlite3.Connection, paper_ids: list[int]) -> list[int]:
    """Replace each row by the annotated rows of the same paper, and return the row ids.

    A row is annotated if it has a current annotation. If a paper has no annotated row, its first
    row in `paper_ids` is used instead. A given row is also returned if it has the same source id as
    one of the rows that replace it. Versions of an arXiv paper, for example, have the same id.
    """
    shown: dict[int, None] = {}
    for paper_id in paper_ids:
        group = members(db, paper_id)
        annotated = sorted({row["paper_id"] for row in current_annotations(db, group)})
        chosen = annotated or [row for row in paper_ids if row in group][:1]
        if _source_id(db, paper_id) in {_source_id(db, row) for row in chosen}:
            shown[paper_id] = None
        shown |= dict.fromkeys(chosen)
    return list(shown)


def representing_row(db: sqlite3.Connection, paper_id: int) -> int:
    """Return the id of the row that represents the paper to which a row belongs.

    This is the row with the latest current annotation, or else the first row of the paper.
    """
    group = members(db, paper_id)
    annotated = current_annotations(db, group)
    return int(annotated[0]["paper_id"]) if annotated else group[0]


def _source_id(db: sqlite3.Connection, paper_id: int) -> str:
    row = db.execute("SELECT source_id FROM papers WHERE id = ?", [paper_id]).fetchone()
    return str(row["source_id"])


def pairs(db: sqlite3.Connection, paper_id: int | None = None) -> list[Pair]:
    """Return the pairs of rows that were merged, linked or split.

    Args:
        paper_id: the id of a row, to return only pairs with this row; None for all pairs.
    """
    rows = db.execute(
        "SELECT paper_id, one.source_id AS one_id, one.title AS one_title,"
        " other_id, other.source_id AS other_source_id, other.title AS other_title,"
        " CASE relation WHEN 'same' THEN 'merged' ELSE relation END AS relation, rule, evidence"
        " FROM duplicates"
        " JOIN papers AS one ON one.id = paper_id JOIN papers AS other ON other.id = other_id"
        " WHERE :paper IS NULL OR :paper IN (paper_id, other_id) ORDER BY paper_id, other_id",
        {"paper": paper_id},
    )
    return [
        Pair(
            paper=Side(row=row["paper_id"], id=row["one_id"], title=row["one_title"]),
            other=Side(row=row["other_id"], id=row["other_source_id"], title=row["other_title"]),
            relation=row["relation"],
            rule=row["rule"],
            evidence=row["evidence"],
        )
        for row in rows
    ]


def listed(db: sqlite3.Connection, after: int, most: int) -> list[Row]:
    """Return a page of the list of papers, in the order of row ids.

    A paper with merged rows is listed once, as its `representing_row`. The returned rows have the
    columns id, source_id, title and year.

    Args:
        after: the last row id of the previous page, or 0.
        most: the maximum number of papers.
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
    """Return the paper in the row with this id, or None."""
    row = one(db, "SELECT * FROM papers WHERE id = ?", [number])
    if row is None:
        return None
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


def id_column(db: sqlite3.Connection, ids: Iterable[int]) -> str:
    """Return the `id_field` that the papers of these annotations share, or else "id"."""
    rows = db.execute(
        "SELECT DISTINCT id_field FROM annotations JOIN papers ON papers.id = paper_id"
        " WHERE annotations.id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(ids))],
    ).fetchall()
    return str(rows[0]["id_field"]) if len(rows) == 1 else "id"


def _annotated(row: Row, stated: Mapping[str, str] | None = None) -> Annotated:
    """Return the annotation in a row.

    Args:
        row: the columns of `papers`, and the record of the annotation.
        stated: facts from `stated_together`; a fact is used if the row and the record lack it.
    """
    record = stored_record(row["record"])
    own = {key: value for key, value in record["provenance"]["input"].items() if value}
    more = dict(stated or {})
    if more.get("arxiv_id") == row["source_id"]:
        del more["arxiv_id"]
    texts = {name: more.pop(name, "") for name in TEXTS}
    known = {name: row[name] or text for name, text in texts.items()}
    paper = paper_of({**row, **known}, {**more, **own})
    return Annotated(paper, with_paper(paper, record, paper.abstract))


DELETED, REVIEWED = "deleted", "reviewed"
"""Values of `PulledHighlight.kind` that record an action of a person, not a highlight.

`DELETED`: the person has deleted a highlight of the harness, or removed the tag of its move.
`REVIEWED`: the person has accepted all moves of an item by a tag such as "nanda:reviewed".
"""


@dataclass(frozen=True, slots=True)
class PulledHighlight:
    """A highlight or comment of a person in a PDF file of Zotero.

    Attributes:
        library: the name of the library.
        attachment: the key of the PDF file in the library; "" if `kind` is `DELETED` or `REVIEWED`.
        key: the key of the highlight in the library, or of the item if `kind` is `REVIEWED`.
        kind: the type of the highlight in Zotero, such as "highlight" or "note"; or else `DELETED`
            or `REVIEWED`.
        version: the number that Zotero increases when the highlight is changed.
        tags: the names of the tags, as JSON.
        page: the label of the page.
        sort: Zotero's key for sorting the highlights of a file by position.
        author: the name of the user, or "" if it is unknown.
        chosen: True if a person has chosen the passage and its tags.
    """

    library: str
    attachment: str
    key: str
    kind: str
    version: int
    tags: str
    text: str
    comment: str
    page: str
    sort: str
    author: str
    chosen: bool

    @property
    def name(self) -> str:
        """The name of this version of the highlight, with the library, key, kind and version."""
        return f"{self.library}/items/{self.key}:{self.kind}:{self.version}"

    def moves(self, framework: Framework) -> list[str]:
        """Return the names of the moves with which the highlight is tagged.

        The tag of a move is the name or the label of the move. The prefix "FRAMEWORK:" is optional,
        and case is ignored. Thus, "nanda:claim", "Nanda:claim" and "Claim" are tags of the move
        "claim".
        """
        prefix = f"{framework.name}:".casefold()
        names = {str(tag).casefold().removeprefix(prefix) for tag in json.loads(self.tags)}
        labels = framework.labels.items()
        return [name for name, label in labels if names & {name.casefold(), label.casefold()}]


_HIGHLIGHTS = tuple(one.name for one in fields(PulledHighlight))


def store_highlights(
    db: sqlite3.Connection, library: str, found: Iterable[tuple[int, PulledHighlight]]
) -> None:
    """Replace the stored highlights of a library.

    Args:
        found: pairs of the row id of a paper and a highlight in the paper.
    """
    with transaction(db):
        db.execute("DELETE FROM zotero_highlights WHERE library = ?", [library])
        for paper_id, highlight in found:
            insert(db, "zotero_highlights", paper_id=paper_id, **asdict(highlight))


def highlights_of(db: sqlite3.Connection, paper_id: int) -> list[PulledHighlight]:
    """Return the pulled highlights of all rows of a paper, sorted by PDF file and position."""
    rows = db.execute(
        f"SELECT {', '.join(_HIGHLIGHTS)} FROM zotero_highlights"  # noqa: S608  names of columns
        " WHERE paper_id IN (SELECT value FROM json_each(?)) ORDER BY attachment, sort, id",
        [json.dumps(members(db, paper_id))],
    )
    return list(dict.fromkeys(PulledHighlight(**row) for row in rows))


def papers_with_highlights(db: sqlite3.Connection) -> dict[str, list[PulledHighlight]]:
    """Return the pulled highlights of all papers, by the source id of the paper.

    The highlights of a merged paper are listed under the source id of each of its rows.
    """
    found: dict[str, list[PulledHighlight]] = {}
    for (paper_id,) in db.execute("SELECT DISTINCT paper_id FROM zotero_highlights").fetchall():
        highlights = highlights_of(db, paper_id)
        found |= {_source_id(db, row): highlights for row in members(db, paper_id)}
    return found
