"""Full-text search over the moves of the current annotations, and over papers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from skills.corpus.db.facets import Kind, word
from skills.corpus.db.papers import stored
from skills.corpus.db.rows import Row, one
from skills.corpus.search.query_syntax import Years, all_of, quoted, tokens
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, iso_date

if TYPE_CHECKING:
    from sqlite_utils import Database

RANKED = 2_000
"""Of more matches than these, the newest are ranked: a word so common says little about which is
best, and bm25 takes some microseconds for each."""
COMMON = 100_000
"""A word that more moves than these hold has no part in the ranking: bm25 would count them all anew
in every search, only to give it little weight."""
SNIPPET_WORDS = 32
TOKENIZER = "porter unicode61"
"""That of the corpus's own full-text tables, in skills/corpus/db/schema.py."""
MARK = "**"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a search is narrowed to; empty or None: not at all.

    Attributes:
        moves: names; a hit is one of these.
        categories: a paper has one of these, in any case and any place.
    """

    moves: Sequence[str] = ()
    categories: Sequence[str] = ()
    years: Years | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A move that matches.

    Attributes:
        id_field, id: the paper's id and what it is called in the stored form.
        snippet: the move's text, or a part of it, with matching words between two `MARK`s.
        score: of bm25, better ones higher; good for comparing the hits of one search alone. 0 where
            they are not ranked.
        paper_id, annotation_id: their numbers in the database.
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
        """For JSON: the id under its own name, then title, year, move, text, snippet, score."""
        rest = asdict(self)
        return {rest.pop("id_field"): rest.pop("id"), **rest}


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of a search, the best first.

    Attributes:
        ranked: False where each word is in more than `COMMON` moves, and the newest come first.
        capped: they are ranked, more than `RANKED` moves match, and the best are those of the
            newest.
        without_year: papers that match but for their year, which is not known.
    """

    hits: tuple[Hit, ...]
    ranked: bool
    capped: bool
    without_year: int


def search(
    db: Database,
    text: str,
    framework: Framework,
    narrowing: Narrowing | None = None,
    *,
    limit: int = 20,
) -> Found:
    """The moves that hold all words and phrases of `text` (`queries.tokens`), ranked by bm25.

    Raises:
        InputError: there is no word in `text`.
    """
    asked = narrowing or Narrowing()
    held = tokens(text)
    words = _in_text(held)
    narrowed = [words, *_any("move", asked.moves), *_any("category", asked.categories)]
    without_year = 0
    match = " AND ".join(narrowed)
    if asked.years is not None:
        without_year = _without_year(db, match, framework)
        years = asked.years.among(db)
        if not years:
            return Found((), ranked=True, capped=False, without_year=without_year)
        match = " AND ".join([*narrowed, *_any("year", years)])
    telling = [part for token in held for part in _telling(db, token)]
    newest = _newest(db, match, framework, RANKED + 1 if telling else limit)
    if telling:
        best = _ranked(db, _in_text(telling), newest[:RANKED], limit)
    else:
        best = [(move_id, 0.0) for move_id in newest]
    hits = tuple(_hit(db, words, move_id, score) for move_id, score in best)
    capped = bool(telling) and len(newest) > RANKED
    return Found(hits, bool(telling), capped, without_year)


def papers_about(
    db: Database,
    words: Sequence[str],
    limit: int,
    since: date | None = None,
    until: date | None = None,
    *,
    fewest: int | None = None,
) -> list[Paper]:
    """The papers whose title and abstract hold all of `words`, or `fewest` of them.

    Those that hold all of them come first; among these, and among the others, bm25 decides. Of the
    versions of a paper at arXiv the one that came last is taken, of papers with one abstract the
    best.

    Args:
        words: words or phrases, without those that say nothing of a topic.
        fewest: how many of the words do.
        since, until: days, both included. A paper of which the year alone is known is taken by its
            year; one of which nothing is known is left out when either is given.
    """
    asked = list(dict.fromkeys(word for word in words if any(map(str.isalnum, word))))
    if not asked:
        return []
    each = " UNION ALL ".join(
        ["SELECT rowid AS id FROM papers_fts WHERE papers_fts MATCH ?"] * len(asked)
    )
    rows = db.conn.execute(
        "SELECT papers.id, sha256, published FROM papers_fts JOIN"  # noqa: S608  as many subqueries as there are words
        f" (SELECT id AS held_by, count(*) AS held FROM ({each}) GROUP BY id HAVING held >= ?)"
        " ON held_by = papers_fts.rowid JOIN papers ON papers.id = papers_fts.rowid"
        " WHERE papers_fts MATCH ?"
        " AND NOT EXISTS (SELECT 1 FROM papers AS later WHERE later.source_id = papers.source_id"
        "   AND later.id_field = 'arxiv_id' AND papers.id_field = 'arxiv_id'"
        "   AND later.id > papers.id)"
        " ORDER BY held = ? DESC, bm25(papers_fts), papers.id",
        [
            *map(quoted, asked),
            len(asked) if fewest is None else fewest,
            " OR ".join(map(quoted, asked)),
            len(asked),
        ],
    )
    within = (row for row in rows if _is_between(row["published"], since, until))
    return [stored(db, paper_id) for paper_id in list(itertools.islice(_each_once(within), limit))]


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
    """The ids of papers without those whose abstract came before, under another id."""
    seen: set[str] = set()
    for row in rows:
        if row["sha256"] not in seen:
            seen.add(row["sha256"])
            yield row["id"]


def _in_text(held: list[str]) -> str:
    """The expression for moves whose text, not their facets, holds all of these."""
    return f"text : ({all_of(held)})"


def _telling(db: Database, token: str) -> list[str]:
    """What of a word or phrase has a part in the ranking: it, or its words that are not common."""
    words = [word for word in token.split() if any(map(str.isalnum, word))]
    telling = [word for word in words if not _is_common(db, word)]
    return [token] if len(telling) == len(words) else telling


def _is_common(db: Database, word: str) -> bool:
    """Whether more than `COMMON` moves hold a word; no more of them are counted."""
    sql = "SELECT 1 FROM moves_fts WHERE moves_fts MATCH ? LIMIT 1 OFFSET ?"
    return one(db, sql, [_in_text([word]), COMMON]) is not None


def _any(kind: Kind, values: Sequence[object]) -> list[str]:
    """The expression for one of several facets, where any is asked for."""
    either = " OR ".join(quoted(word(kind, value)) for value in values)
    return [f"facets : ({either})"] if either else []


def _newest(db: Database, match: str, framework: Framework, most: int) -> list[int]:
    """The ids of the current moves that match, the newest first, and no more than `most`."""
    rows = db.conn.execute(
        "SELECT moves.id FROM moves_fts CROSS JOIN moves ON moves.id = moves_fts.rowid"
        " WHERE moves_fts MATCH ? AND framework = ? AND current = 1"
        " ORDER BY moves_fts.rowid DESC LIMIT ?",
        [match, framework.name, most],
    )
    return [row["id"] for row in rows]


def _ranked(db: Database, words: str, newest: list[int], limit: int) -> list[tuple[int, float]]:
    """The best of these moves, which hold `words`, and their scores.

    bm25 counts the rows of all phrases it is asked with; so it is not asked with the facets, which
    are in very many rows and have no weight.
    """
    if not newest:
        return []
    # The plus keeps SQLite from starting the search anew for every id.
    rows = db.conn.execute(
        "SELECT rowid, bm25(moves_fts, 1.0, 0.0) AS score FROM moves_fts"
        " WHERE moves_fts MATCH ? AND rowid >= ? AND +rowid IN (SELECT value FROM json_each(?))"
        " ORDER BY score, rowid DESC LIMIT ?",
        [words, newest[-1], json.dumps(newest), limit],
    )
    return [(row["rowid"], -row["score"]) for row in rows]


def _without_year(db: Database, match: str, framework: Framework) -> int:
    if db.conn.execute("SELECT 1 FROM papers WHERE year IS NULL LIMIT 1").fetchone() is None:
        return 0
    unknown = " AND ".join([match, *_any("year", [""])])
    found = db.conn.execute(
        "SELECT count(DISTINCT paper_id) FROM moves_fts"
        " CROSS JOIN moves ON moves.id = moves_fts.rowid"
        " WHERE moves_fts MATCH ? AND framework = ? AND current = 1",
        [unknown, framework.name],
    )
    return int(found.fetchone()[0])


def _hit(db: Database, words: str, move_id: int, score: float) -> Hit:
    row = db.conn.execute(
        "SELECT id_field, source_id, title, year, move, moves.text, annotation_id, paper_id,"
        " snippet(moves_fts, 0, ?, ?, '...', ?) AS snippet FROM moves_fts"
        " JOIN moves ON moves.id = moves_fts.rowid JOIN papers ON papers.id = paper_id"
        " WHERE moves_fts MATCH ? AND moves_fts.rowid = ?",
        [MARK, MARK, SNIPPET_WORDS, words, move_id],
    ).fetchone()
    return Hit(
        id_field=row["id_field"],
        id=row["source_id"],
        title=row["title"],
        year=row["year"],
        move=row["move"],
        text=row["text"],
        snippet=row["snippet"],
        score=round(score, 3),
        paper_id=row["paper_id"],
        annotation_id=row["annotation_id"],
    )
