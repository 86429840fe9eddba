"""Search the moves of the current annotations by full text."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from skills.corpus.db.facets import Kind, word
from skills.corpus.db.rows import one
from skills.corpus.search.query_syntax import Query, Years, quoted, tokens
from skills.nanda.confidence import uncertainty
from skills.nanda.framework import Framework

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
        found_by: "words", "meaning" or "both".
        confidence: that of the move, None if it has none.
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
    found_by: str = "words"
    confidence: float | None = None

    @property
    def mark(self) -> str:
        """The mark of an uncertain move, else ""."""
        record = {"confidence": {self.move: self.confidence}, "anchors": {self.move: {}}}
        return uncertainty(record, self.move)

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


class Moves(Protocol):
    """The moves that a search reads, in a database with the full-text index `moves_fts`."""

    @property
    def db(self) -> sqlite3.Connection:
        """The database with the index."""

    def newest(self, match: str, limit: int) -> list[int]:
        """Return the ids of the newest current moves that match, the newest first."""

    def without_year(self, match: str) -> int:
        """Return how many papers of unknown year match."""

    def years(self, among: Years) -> list[int]:
        """Return the years in a range that there are papers of."""

    def hits(self, words: str, best: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        """Yield the moves of these ids and scores, with what matches `words` in the snippets."""


def search(moves: Moves, query: Query) -> Found:
    """Find the moves that contain all words and phrases of a query (`best_moves`)."""
    best = best_moves(moves, query)
    return Found(tuple(moves.hits(in_text(tokens(query.text)), best.moves)), best.without_year)


@dataclass(frozen=True, slots=True)
class Best:
    """`Found` as ids of moves and their scores."""

    moves: list[tuple[int, float]]
    without_year: int


def best_moves(moves: Moves, query: Query) -> Best:
    """Find the moves that contain all words and phrases of a query, ranked by bm25.

    Of more than `RANKED` matches, the newest are ranked. If all words are `COMMON`, the newest come
    first, with a score of 0.

    Raises:
        InputError: the query has no words.
    """
    wanted = tokens(query.text)
    match = [
        in_text(wanted),
        *any_of("move", query.moves),
        *any_of("category", query.categories),
    ]
    without_year = 0
    if query.years is not None:
        without_year = moves.without_year(" AND ".join([*match, *any_of("year", [""])]))
        found = moves.years(query.years)
        if not found:
            return Best([], without_year)
        match += any_of("year", found)
    split = " ".join(wanted).split()
    ranking = [word for word in split if not is_in_more(moves.db, word, COMMON)]
    newest = moves.newest(" AND ".join(match), RANKED if ranking else query.limit)
    best = [(move_id, 0.0) for move_id in newest]
    if ranking:
        best = _ranked(moves.db, ranking, newest, query.limit)
    return Best(best, without_year)


@dataclass(frozen=True, slots=True)
class Tables:
    """`Moves` of the corpus database."""

    db: sqlite3.Connection
    framework: Framework

    def newest(self, match: str, limit: int) -> list[int]:
        rows = self.db.execute(
            "SELECT moves.id FROM moves_fts CROSS JOIN moves ON moves.id = moves_fts.rowid"
            " WHERE moves_fts MATCH ? AND framework = ? AND current = 1"
            " ORDER BY moves_fts.rowid DESC LIMIT ?",
            [match, self.framework.name, limit],
        )
        return [row["id"] for row in rows]

    def without_year(self, match: str) -> int:
        if self.db.execute("SELECT 1 FROM papers WHERE year IS NULL LIMIT 1").fetchone() is None:
            return 0
        found = self.db.execute(
            "SELECT count(DISTINCT paper_id) FROM moves_fts"
            " CROSS JOIN moves ON moves.id = moves_fts.rowid"
            " WHERE moves_fts MATCH ? AND framework = ? AND current = 1",
            [match, self.framework.name],
        )
        return int(found.fetchone()[0])

    def years(self, among: Years) -> list[int]:
        return among.among(self.db)

    def hits(self, words: str, best: Sequence[tuple[int, float]]) -> Iterator[Hit]:
        for move_id, score in best:
            row = self.db.execute(
                "SELECT id_field, source_id AS id, title, year, move, moves.text, paper_id,"
                " annotation_id, snippet(moves_fts, 0, ?, ?, '...', ?) AS snippet,"
                " (SELECT CASE WHEN json_valid(record)"
                "   THEN json_extract(record, '$.confidence.' || move) END FROM annotations"
                " WHERE annotations.id = annotation_id) AS confidence FROM moves_fts"
                " JOIN moves ON moves.id = moves_fts.rowid JOIN papers ON papers.id = paper_id"
                " WHERE moves_fts MATCH ? AND moves_fts.rowid = ?",
                [MARK, MARK, SNIPPET_WORDS, words, move_id],
            ).fetchone()
            yield Hit(**dict(row), score=round(score, 3))


def in_text(words: Sequence[str], joined: str = "AND") -> str:
    """Return the expression for moves whose text, not their facets, contains all of these.

    Args:
        joined: "OR": contains one of these.
    """
    return f"text : ({f' {joined} '.join(map(quoted, words))})"


def is_in_more(db: sqlite3.Connection, word: str, moves: int) -> bool:
    """Return True if a word has no letter or digit, or more than so many moves contain it."""
    if not any(map(str.isalnum, word)):
        return True
    sql = "SELECT 1 FROM moves_fts WHERE moves_fts MATCH ? LIMIT 1 OFFSET ?"
    return one(db, sql, [in_text([word]), moves]) is not None


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
        [in_text(words), min(newest, default=0), json.dumps(newest), limit],
    )
    return [(row["rowid"], -row["score"]) for row in rows]


def any_of(kind: Kind, values: Sequence[object]) -> list[str]:
    """Return the expression for one of several facets, none for no values."""
    either = " OR ".join(quoted(word(kind, value)) for value in values)
    return [f"facets : ({either})"] if either else []
