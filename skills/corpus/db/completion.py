"""Complete the stored papers with the answers of sources, and record the lookups.

A source is a service such as Crossref or PubMed. Facts are, for example, the date, the venue, the
number of citations, a retraction and the identifiers. The table `awaited` has the papers without an
abstract, until a source states the abstract.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from skills.corpus.db import papers
from skills.corpus.db.connection import transaction
from skills.corpus.db.merging import identifiers_of
from skills.corpus.db.rows import Row, insert, members, now, one, update
from skills.corpus.identity import identifiers as ids
from skills.corpus.outputs import LookedUp
from skills.nanda.paper import METADATA, Paper, own_id

Of = Literal["papers", "awaited"]
TITLE = "title"
"""Key of the title in the mappings of identifiers that `due` yields."""

COLUMNS = {
    "doi": "NOT EXISTS (SELECT 1 FROM identifiers WHERE paper_id = papers.id AND kind = 'doi')",
    "published": "published = ''",
    "venue": "venue = ''",
    "cited": "cited IS NULL",
    "retracted": "retracted IS NULL",
    "notice": "retracted = 1 AND retraction = ''",
}
"""For each fact, the SQL condition that is true for rows of `papers` without the fact.

A retraction notice is only expected for a retracted paper.
"""
TEXTS = ("title", "authors", "published")
"""Columns of `papers` that `stated_together` completes from other rows of the same paper."""

SOURCE_NAMES = {"doi": "doi", "pmid": "pmid", "arxiv": "arxiv_id", "openalex": "openalex_id"}
"""The key in `Paper.source` of each kind of identifier."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a paper that a source states; "" and None stand for unknown facts.

    Attributes:
        source: the name of the source, such as "openalex".
        identifiers: the identifiers by kind (see skills/corpus/identity/identifiers.py).
        published: an ISO 8601 date, or its beginning: a year and month, or a year.
        cited: the number of citations.
        notice: the DOI of the retraction notice.
    """

    source: str
    identifiers: Mapping[str, str]
    title: str = ""
    abstract: str = ""
    authors: str = ""
    published: str = ""
    venue: str = ""
    categories: str = ""
    cited: int | None = None
    retracted: bool | None = None
    notice: str = ""

    @property
    def stated(self) -> dict[str, str]:
        """The identifiers and the venue, under the keys of `Paper.source`."""
        found = {SOURCE_NAMES[kind]: value for kind, value in self.identifiers.items()}
        return {**found, **({"venue": self.venue} if self.venue else {})}

    @property
    def paper(self) -> Paper:
        """The paper that the facts describe.

        Its id is the first of these ids that is known: the arXiv id, the DOI, the PMID, the
        OpenAlex id, and an id that is made from the abstract.
        """
        known = self.identifiers
        kind = next((kind for kind in ("arxiv", *ids.KINDS) if kind in known), "")
        own = known[kind] if kind else own_id(self.abstract)
        return Paper(
            "arxiv_id" if kind == "arxiv" else "paper_id" if kind else "id",
            f"pmid:{own}" if kind == "pmid" else own,
            abstract=self.abstract,
            source={"kind": self.source, **self.stated},
            **{name: getattr(self, name) for name in METADATA},
        )


def complete(db: sqlite3.Connection, paper_id: int, found: Facts) -> list[str]:
    """Store new facts about a paper, and return the names of the stored facts.

    The names include neither the year nor the DOI of a retraction notice. Known facts are kept,
    with two exceptions: a new number of citations replaces the old number, and `retracted` may
    change from 0 to 1. The row may be merged with or linked to other rows (see `papers.identify`).

    Args:
        paper_id: the id of a row of `papers`.
        found: the facts that a source states.
    """
    with transaction(db):
        row = one(db, "SELECT * FROM papers WHERE id = ?", [paper_id]) or {}
        known = identifiers_of(db, paper_id)
        columns = _columns(row, found)
        if columns:
            update(db, "papers", paper_id, **columns)
            if "year" in columns:
                papers.update_facets(db, paper_id)
        new = [kind for kind in found.identifiers if kind not in known]
        stated = {name: value for name, value in found.stated.items() if name != "venue"}
        kept = replace(papers.stored(db, paper_id), source={"kind": "corpus", **stated})
        papers.identify(db, paper_id, kept, changed=bool(columns))
    return [name for name in (*columns, *new) if name not in ("year", "retraction")]


def remember(db: sqlite3.Connection, of: Of, row_id: int, source: str, *, found: bool) -> None:
    """Record that a row of `papers` or `awaited` was looked up at a source.

    Args:
        of: the table that contains the row.
        found: True if the source has the paper.
    """
    with transaction(db):
        db.execute(
            "INSERT INTO lookups (of, row_id, source, found, looked_up_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (of, row_id, source)"
            " DO UPDATE SET found = excluded.found, looked_up_at = excluded.looked_up_at",
            [of, row_id, source, int(found), now()],
        )


def due(
    db: sqlite3.Connection,
    source: str,
    states: Iterable[str],
    since: str,
    kinds: Container[str],
    *,
    by_title: bool,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the row id and the identifiers of each paper to look up at a source.

    A paper is omitted if its last lookup at the source was at or after the time `since`. Otherwise,
    the paper is yielded if it lacks one of the facts `states`. A paper with an earlier lookup is
    also yielded, since citations and retractions change.

    Args:
        source: the name of the source.
        states: the names of the facts that the source may state; names that are not in `COLUMNS`
            are ignored.
        since: a time in the format of `rows.now`.
        kinds: the kinds of identifiers that the source knows; other identifiers are left out.
        by_title: True to look up a paper without such an identifier by its title, if any. The paper
            is then yielded with {TITLE: title}, and otherwise with {}.
    """
    lacks = " OR ".join(f"({COLUMNS[name]})" for name in sorted(states) if name in COLUMNS)
    before = "SELECT 1 FROM lookups WHERE of = 'papers' AND row_id = papers.id AND source = :source"
    rows = db.execute(
        "SELECT papers.id, title, kind, value FROM papers LEFT JOIN identifiers"  # noqa: S608
        " ON paper_id = papers.id AND kind != 'title'"
        f" WHERE NOT EXISTS ({before} AND looked_up_at >= :since)"
        f" AND ({lacks} OR EXISTS ({before})) ORDER BY papers.id, identifiers.id",
        {"source": source, "since": since},
    ).fetchall()
    for (row_id, title), of_paper in itertools.groupby(rows, lambda row: (row["id"], row["title"])):
        known = {row["kind"]: row["value"] for row in of_paper if row["kind"] in kinds}
        yield row_id, known or ({TITLE: title} if by_title and title else {})


def looked_up(db: sqlite3.Connection, paper_id: int) -> LookedUp:
    """Return facts about a paper, and the day of the lookup at each source that has the paper."""
    row = one(db, "SELECT venue, cited, retracted, retraction FROM papers WHERE id = ?", [paper_id])
    known = db.execute(
        "SELECT source, looked_up_at FROM lookups WHERE of = 'papers' AND row_id = ? AND found"
        " ORDER BY id",
        [paper_id],
    )
    days = {source: at[:10] for source, at in known}
    return LookedUp(**dict(row or {}), looked_up=days)


def stated_of(db: sqlite3.Connection, paper_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return the identifiers and the venue of each paper, by row id.

    The keys of each mapping are the keys of `Paper.source`: "doi", "arxiv_id", ..., "venue". A
    paper with neither an identifier nor a venue is omitted.
    """
    names = {**SOURCE_NAMES, "venue": "venue"}
    stated: dict[int, dict[str, str]] = {}
    rows = db.execute(
        "SELECT paper_id, kind, value, id FROM identifiers WHERE kind != 'title'"
        " AND paper_id IN (SELECT value FROM json_each(:papers)) UNION ALL"
        " SELECT id, 'venue', venue, NULL FROM papers WHERE venue != ''"
        " AND id IN (SELECT value FROM json_each(:papers)) ORDER BY 4 NULLS LAST",
        {"papers": json.dumps(list(paper_ids))},
    )
    for paper_id, kind, value, _ in rows:
        if name := names.get(kind):  # None for the kind "zotero"
            stated.setdefault(paper_id, {})[name] = value
    return stated


def _columns(row: Row, found: Facts) -> dict[str, Any]:
    """Return the new values of the columns of `papers` that `found` changes."""
    paper = found.paper
    texts = {name: getattr(found, name) for name in (*TEXTS, "venue")}
    columns: dict[str, Any] = {n: text for n, text in texts.items() if text and not row[n]}
    if row["year"] is None and paper.year and "published" in columns:
        columns["year"] = paper.year
    if found.cited is not None and found.cited != row["cited"]:
        columns["cited"] = found.cited
    if found.retracted is not None and (
        row["retracted"] is None or found.retracted > row["retracted"]
    ):
        columns["retracted"] = int(found.retracted)
    if found.notice and not row["retraction"]:
        columns["retraction"] = found.notice
    return columns


def stated_together(db: sqlite3.Connection, paper_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return the facts of each row, by row id, completed from other rows of the same paper.

    The facts are the identifiers and the venue, as `stated_of` returns them. The facts of a row
    that was merged with other rows also include the columns `TEXTS`. If several rows have a fact,
    the fact of the row itself is used, or else the fact of the row with the lowest id.
    """
    wanted = list(paper_ids)
    merged = db.execute(
        "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM duplicates"
        " WHERE relation = 'same' AND paper_id = value)"
        " OR EXISTS (SELECT 1 FROM duplicates WHERE relation = 'same' AND other_id = value)",
        [json.dumps(wanted)],
    )
    same = {row_id: members(db, row_id) for (row_id,) in merged.fetchall()}
    ids = sorted({*wanted, *(row for rows in same.values() for row in rows)})
    stated = stated_of(db, ids)
    if not same:
        return stated
    rows = db.execute(
        "SELECT id, title, authors, published FROM papers"
        " WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(ids)],
    )
    known = {
        row["id"]: {**{name: row[name] for name in TEXTS}, **stated.get(row["id"], {})}
        for row in rows
    }
    for row_id, others in same.items():
        stated[row_id] = {
            name: value
            # In this order, the values with precedence overwrite other values.
            for row in sorted(others, key=lambda row: (row == row_id, -row))
            for name, value in known[row].items()
            if value
        }
    return stated


def await_abstract(db: sqlite3.Connection, paper: Paper) -> bool:
    """Store a paper without an abstract in `awaited`, and return True if a row was added.

    No row is added if `awaited` already has the paper, or if the paper has no identifier by which
    its abstract could be looked up.
    """
    if not ids.identifiers_of(paper, paper.source):
        return False
    with transaction(db):
        sql = "SELECT 1 FROM awaited WHERE source_id = ? AND id_field = ?"
        if one(db, sql, [paper.id, paper.id_field]):
            return False
        insert(
            db,
            "awaited",
            id_field=paper.id_field,
            source_id=paper.id,
            **{name: getattr(paper, name) for name in METADATA},
            source=json.dumps(dict(paper.source), ensure_ascii=False),
            added_at=now(),
        )
    return True


def count_awaited(db: sqlite3.Connection) -> int:
    """Return the number of papers in `awaited`."""
    return int(db.execute("SELECT count(*) FROM awaited").fetchone()[0])


def due_awaited(
    db: sqlite3.Connection, source: str, since: str
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the id in `awaited` and the identifiers of each paper to look up at a source.

    Papers that were looked up at the source since the time `since` are omitted.
    """
    rows = db.execute(
        "SELECT * FROM awaited WHERE NOT EXISTS (SELECT 1 FROM lookups WHERE of = 'awaited'"
        " AND row_id = awaited.id AND source = ? AND looked_up_at >= ?) ORDER BY id",
        [source, since],
    )
    for row in rows.fetchall():
        paper = _awaited(row)
        yield row["id"], ids.identifiers_of(paper, paper.source)


def complete_awaited(db: sqlite3.Connection, row_id: int, found: Facts) -> int | None:
    """Move a paper from `awaited` to `papers`, with the abstract that a source states.

    Args:
        row_id: the id of the row of `awaited`.

    Returns:
        The id of the row of `papers`, or None if `found` has no abstract or another process has
        moved the paper.
    """
    row = one(db, "SELECT * FROM awaited WHERE id = ?", [row_id])
    if row is None or not found.abstract:
        return None
    kept = _awaited(row)
    paper = replace(
        kept,
        abstract=found.abstract,
        source={**found.stated, **kept.source},
        **{name: getattr(kept, name) or getattr(found, name) for name in METADATA},
    )
    with transaction(db):
        paper_id = papers.save(db, paper)
        complete(db, paper_id, found)
        remember(db, "papers", paper_id, found.source, found=True)
        db.execute("DELETE FROM lookups WHERE of = 'awaited' AND row_id = ?", [row_id])
        db.execute("DELETE FROM awaited WHERE id = ?", [row_id])
    return paper_id


def _awaited(row: Row) -> Paper:
    return papers.paper_of({**row, "abstract": ""}, json.loads(row["source"]))
