"""Search the moves of the current annotations, and papers, by full text."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from skills.corpus.db.facets import Kind, word
from skills.corpus.db.papers import stored
from skills.corpus.db.rows import Row, one
from skills.corpus.search.query_syntax import Years, all_of, quoted, tokens
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, iso_date

RANKED = 2_000
"""Of more matches, the newest are ranked: bm25 takes some microseconds for each."""
COMMON = 100_000
"""A word that more moves than these contain is not ranked by: bm25 would count them all in every
search, only to give it little weight."""
SNIPPET_WORDS = 32
MARK = "**"


@dataclass(frozen=True, slots=True)
class Hit:
    """A matching move.

    Attributes:
        id_field, id: the name and value of the paper's id.
        snippet: the text of the move, or a part of it, with matching words between two `MARK`s.
        score: bm25, higher is better; comparable only within one search.
        paper_id, annotation_id: their ids in the database.
    """

    id_field: str
    id: str
    title: str
    year: int | None
    move: str
    text: str
    snippet: str
    score: float
    paper_id: int
    annotation_id: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: the id under its own name, then the other fields."""
        rest = asdict(self)
        own = {rest.pop("id_field"): rest.pop("id")}
        return own | rest | own  # the id may be a `paper_id`, too


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of a search, best first.

    Attributes:
        without_year: matching papers that are left out since their year is unknown.
    """

    hits: tuple[Hit, ...]
    without_year: int


def search(
    db: sqlite3.Connection,
    text: str,
    framework: Framework,
    *,
    moves: Sequence[str] = (),
    categories: Sequence[str] = (),
    years: Years | None = None,
    limit: int = 20,
) -> Found:
    """Find the moves that contain all words and phrases of `text`, ranked by bm25.

    Of more than `RANKED` matches, the newest are ranked. If all words are `COMMON`, the newest come
    first, with a score of 0.

    Args:
        moves: names of the moves to search; empty: all.
        categories: a paper must have one of them, in any position; case does not matter.

    Raises:
        InputError: `text` has no words.
    """
    words = _in_text(tokens(text))
    match = [words, *_any("move", moves), *_any("category", categories)]
    without_year = 0
    if years is not None:
        without_year = _without_year(db, match, framework)
        found = years.among(db)
        if not found:
            return Found((), without_year)
        match += _any("year", found)
    ranking = [word for word in " ".join(tokens(text)).split() if not _is_common(db, word)]
    newest = _newest(db, " AND ".join(match), framework, RANKED if ranking else limit)
    best = [(move_id, 0.0) for move_id in newest]
    if ranking:
        best = _ranked(db, ranking, newest, limit)
    hits = tuple(_hit(db, words, move_id, score) for move_id, score in best)
    return Found(hits, without_year)


def papers_about(
    db: sqlite3.Connection,
    words: Sequence[str],
    limit: int,
    since: date | None = None,
    until: date | None = None,
    *,
    fewest: int | None = None,
) -> list[Paper]:
    """Find the papers whose title and abstract contain all of `words`, or `fewest` of them.

    Those with all words come first; then bm25 decides. Of several versions at arXiv, the last one
    added is returned; of papers with the same abstract, the best.

    Args:
        words: words or phrases, without stop words.
        fewest: how many of the words are enough.
        since, until: days, both inclusive. A paper with only a known year is compared by
            its year; one without a date is left out if either is given.
    """
    wanted = list(dict.fromkeys(word for word in words if any(map(str.isalnum, word))))
    if not wanted:
        return []
    each = " UNION ALL ".join(
        ["SELECT rowid AS id FROM papers_fts WHERE papers_fts MATCH ?"] * len(wanted)
    )
    rows = db.execute(
        "SELECT papers.id, sha256, published FROM papers_fts JOIN"  # noqa: S608  as many subqueries as there are words
        f" (SELECT id AS paper_id, count(*) AS matched FROM ({each}) GROUP BY id"
        " HAVING matched >= ?)"
        " ON paper_id = papers_fts.rowid JOIN papers ON papers.id = papers_fts.rowid"
        " WHERE papers_fts MATCH ?"
        " AND NOT EXISTS (SELECT 1 FROM papers AS later WHERE later.source_id = papers.source_id"
        "   AND later.id_field = 'arxiv_id' AND papers.id_field = 'arxiv_id'"
        "   AND later.id > papers.id)"
        " ORDER BY matched = ? DESC, bm25(papers_fts), papers.id",
        [
            *map(quoted, wanted),
            len(wanted) if fewest is None else fewest,
            " OR ".join(map(quoted, wanted)),
            len(wanted),
        ],
    )
    within = (row for row in rows if _is_between(row["published"], since, until))
    ids = list(itertools.islice(_each_once(within), limit))
    return [stored(db, paper_id) for paper_id in ids]


def _is_between(published: str, since: date | None, until: date | None) -> bool:
    if since is None and until is None:
        return True
    day = iso_date(published)
    return (
        day != ""
        and (since is None or day >= since.isoformat()[: len(day)])
        and (until is None or day <= until.isoformat())
    )


def _each_once(rows: Iterable[Row]) -> Iterator[int]:
    """Yield the ids of papers, without those that repeat an abstract under another id."""
    seen: set[str] = set()
    for row in rows:
        if row["sha256"] not in seen:
            seen.add(row["sha256"])
            yield row["id"]


def _in_text(words: list[str]) -> str:
    """Return the expression for moves whose text, not their facets, contains all of these."""
    return f"text : ({all_of(words)})"


def _is_common(db: sqlite3.Connection, word: str) -> bool:
    """Return True if a word has no letter or digit, or more than `COMMON` moves contain it."""
    if not any(map(str.isalnum, word)):
        return True
    sql = "SELECT 1 FROM moves_fts WHERE moves_fts MATCH ? LIMIT 1 OFFSET ?"
    return one(db, sql, [_in_text([word]), COMMON]) is not None


def _newest(db: sqlite3.Connection, match: str, framework: Framework, limit: int) -> list[int]:
    """Return the ids of the newest current moves that match, the newest first."""
    rows = db.execute(
        "SELECT moves.id FROM moves_fts CROSS JOIN moves ON moves.id = moves_fts.rowid"
        " WHERE moves_fts MATCH ? AND framework = ? AND current = 1"
        " ORDER BY moves_fts.rowid DESC LIMIT ?",
        [match, framework.name, limit],
    )
    return [row["id"] for row in rows]


def _ranked(
    db: sqlite3.Connection, words: list[str], newest: list[int], limit: int
) -> list[tuple[int, float]]:
    """Return the best of these moves, which contain `words`, with their scores.

    bm25 counts the rows of all phrases in its query, so the facets, which many rows contain, are
    not in it.
    """
    # The plus keeps SQLite from starting the search again for every id.
    rows = db.execute(
        "SELECT rowid, bm25(moves_fts, 1.0, 0.0) AS score FROM moves_fts"
        " WHERE moves_fts MATCH ? AND rowid >= ? AND +rowid IN (SELECT value FROM json_each(?))"
        " ORDER BY score, rowid DESC LIMIT ?",
        [_in_text(words), min(newest, default=0), json.dumps(newest), limit],
    )
    return [(row["rowid"], -row["score"]) for row in rows]


def _any(kind: Kind, values: Sequence[object]) -> list[str]:
    """Return the expression for one of several facets, none for no values."""
    either = " OR ".join(quoted(word(kind, value)) for value in values)
    return [f"facets : ({either})"] if either else []


def _without_year(db: sqlite3.Connection, match: list[str], framework: Framework) -> int:
    """Return how many papers of unknown year match."""
    if db.execute("SELECT 1 FROM papers WHERE year IS NULL LIMIT 1").fetchone() is None:
        return 0
    found = db.execute(
        "SELECT count(DISTINCT paper_id) FROM moves_fts"
        " CROSS JOIN moves ON moves.id = moves_fts.rowid"
        " WHERE moves_fts MATCH ? AND framework = ? AND current = 1",
        [" AND ".join([*match, *_any("year", [""])]), framework.name],
    )
    return int(found.fetchone()[0])


def _hit(db: sqlite3.Connection, words: str, move_id: int, score: float) -> Hit:
    row = db.execute(
        "SELECT id_field, source_id AS id, title, year, move, moves.text, paper_id, annotation_id,"
        " snippet(moves_fts, 0, ?, ?, '...', ?) AS snippet FROM moves_fts"
        " JOIN moves ON moves.id = moves_fts.rowid JOIN papers ON papers.id = paper_id"
        " WHERE moves_fts MATCH ? AND moves_fts.rowid = ?",
        [MARK, MARK, SNIPPET_WORDS, words, move_id],
    ).fetchone()
    return Hit(**dict(row), score=round(score, 3))
