"""A page of the listed papers: sorted, and found again by the values of its last row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InputError
from skills.corpus.browsing.selection import SCORE, Clause, Selection, match_of, selected
from skills.corpus.db.rows import Row, stored_record
from skills.nanda.framework import Framework

ROWS = 50
BEST = "best"
"""The order of a search: by bm25 of title and abstract, then those found by a move alone."""
SORTS: Mapping[str, tuple[str, bool]] = {
    BEST: (SCORE, False),
    "added": ("papers.id", True),
    "newest": ("coalesce(year, 0)", True),
    "oldest": ("coalesce(year, 9999)", False),
    "support": ("coalesce(support, 2.0)", False),
    "unsupported": ("coalesce(unsupported, -1)", True),
}
"""The value that papers are sorted by, before their number, and whether the greatest is first."""
_OPEN, _CLOSE = "\x02", "\x03"
"""Around the words found: no stored text has them."""
_PAPERS = "SELECT * FROM papers WHERE id IN (SELECT value FROM json_each(?))"
_RECORDS = "SELECT id, record FROM annotations WHERE id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Listed:
    """A paper of a page.

    Attributes:
        record: its current annotation, or None.
        found: a piece of title or abstract in parts; every second one was searched for.
        key: its place in the order, for `Page` before or after it.
    """

    row_id: int
    paper: Row
    record: Mapping[str, Any] | None
    found: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of papers.

    Attributes:
        has_previous, has_next: whether there are papers before and after these.
    """

    papers: tuple[Listed, ...]
    has_previous: bool
    has_next: bool


def page(
    db: sqlite3.Connection,
    selection: Selection,
    framework: Framework,
    *,
    sort: str = "added",
    after: str = "",
    before: str = "",
    rows: int = ROWS,
) -> Page:
    """Return the first papers of a prepared selection, or those after or before a key.

    Raises:
        InputError: a key, condition or order is not valid.
    """
    if sort not in SORTS or (sort == BEST and not selection.words.strip()):
        raise InputError(f"papers cannot be sorted by {sort[:40]!r}", hint=_one_of(SORTS))
    clause = selected(selection, framework)
    value, is_descending = SORTS[sort]
    backwards = bool(before)
    limited = clause
    if key := before or after:
        sign = "<" if is_descending != backwards else ">"
        limited += Clause(f" AND ({value}, papers.id) {sign} (?, ?)", _parsed(key))
    way = "DESC" if is_descending != backwards else "ASC"
    found = db.execute(
        f"SELECT papers.id, annotations.id, {value} {limited.sql}"
        f" ORDER BY 3 {way}, papers.id {way} LIMIT ?",
        [*limited.parameters, rows + 1],
    ).fetchall()
    more, found = len(found) > rows, found[:rows]
    if backwards:
        found.reverse()
    listed = _listed(db, found, selection.words)
    return Page(
        tuple(listed),
        has_previous=more if backwards else bool(after),
        has_next=bool(before) if backwards else more,
    )


def _listed(db: sqlite3.Connection, found: Sequence[Sequence[Any]], words: str) -> list[Listed]:
    papers = _rows(db, _PAPERS, [row[0] for row in found])
    annotations = _rows(db, _RECORDS, [r[1] for r in found])
    snippets = _snippets(db, [row[0] for row in found], words)
    return [
        Listed(
            row_id,
            papers[row_id],
            stored_record(annotations[annotation]["record"]) if annotation else None,
            snippets.get(row_id, ()),
            json.dumps([value, row_id]),
        )
        for row_id, annotation, value in found
    ]


def _rows(db: sqlite3.Connection, query: str, ids: Sequence[int | None]) -> dict[int, Row]:
    rows = db.execute(query, [json.dumps(ids)])
    return {row["id"]: row for row in rows}


def _snippets(db: sqlite3.Connection, ids: Sequence[int], words: str) -> dict[int, tuple[str, ...]]:
    if not words.strip():
        return {}
    found = {}
    for row_id in ids:
        row = db.execute(
            "SELECT snippet(papers_fts, -1, ?, ?, '…', 40) FROM papers_fts"
            " WHERE papers_fts MATCH ? AND rowid = ?",
            [_OPEN, _CLOSE, match_of(words), row_id],
        ).fetchone()
        if row is not None:
            found[row_id] = tuple(row[0].replace(_CLOSE, _OPEN).split(_OPEN))
    return found


def _parsed(key: str) -> tuple[float | int, int]:
    try:
        value, row_id = json.loads(key)
        return float(value), int(row_id)
    except (ValueError, TypeError) as exc:
        raise InputError("the address of this page is not valid", hint="Start again.") from exc


def _one_of(names: Mapping[str, Any]) -> str:
    return f"There are {', '.join(names)}."
