"""Search the moves of the current annotations by full text."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Protocol

from skills.corpus.db.facets import Kind, word
from skills.corpus.db.papers import stored
from skills.corpus.db.rows import Row, one
from skills.corpus.db.schema import TOKENIZER
from skills.corpus.search.query_syntax import Query, Years, all_of, quoted, tokens
from skills.nanda.confidence import uncertainty
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, iso_date
from skills.nanda.text import STOP_WORDS

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


NO_YEAR = "none"
"""No paper is of this year."""

Scored = tuple[int, float]
"""The id of a move, and a score."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What moves must meet beside a query.

    Attributes:
        facets: words of facets (`db/facets.py`); of each group, a move must have one.
        phrases: words and phrases that the text of a move must contain.
    """

    facets: tuple[frozenset[str], ...] = ()
    phrases: tuple[str, ...] = ()

    @classmethod
    def of(cls, db: sqlite3.Connection, query: Query, phrases: Sequence[str] = ()) -> Narrowing:
        """Return the narrowing by the moves, categories and years of a query, and by phrases."""
        groups = [[word("move", name) for name in query.moves]]
        groups.append([word("category", category) for category in query.categories])
        if query.years is not None:
            among = [word("year", year) for year in query.years.among(db)]
            groups.append(among or [word("year", NO_YEAR)])
        return cls(tuple(map(frozenset, filter(None, groups))), tuple(phrases))

    @property
    def match(self) -> str:
        """The FTS5 expression for it, "" if it is empty."""
        either = (" OR ".join(map(quoted, sorted(group))) for group in self.facets)
        found = [f"facets : ({words})" for words in either]
        return " AND ".join([*found, in_text(self.phrases)] if self.phrases else found)

    def first(
        self,
        db: sqlite3.Connection,
        framework: Framework,
        scored: Iterable[Scored],
        limit: int,
    ) -> Iterator[Scored]:
        """Yield the first `limit` moves that meet it and are of current annotations."""
        facets_of = "SELECT facets FROM moves WHERE id = ? AND framework = ? AND current = 1"
        matches = "SELECT 1 FROM moves_fts WHERE rowid = ? AND moves_fts MATCH ?"
        phrases = in_text(self.phrases)
        for move_id, score in scored:
            row = one(db, facets_of, [move_id, framework.name])
            if row is None or any(map(frozenset(row["facets"].split()).isdisjoint, self.facets)):
                continue
            if self.phrases and one(db, matches, [move_id, phrases]) is None:
                continue
            yield move_id, score
            limit -= 1
            if not limit:
                return


RARE = 5_000
"""A word in more moves finds none: bm25 would rank them all, only to give it little weight."""


def content_tokens(text: str) -> list[str]:
    """Return the words and phrases of a query without the stop words."""
    return [token for token in tokens(text) if token.casefold() not in STOP_WORDS]


def by_any_word(
    db: sqlite3.Connection, text: str, framework: Framework, narrowing: Narrowing, limit: int
) -> list[Scored]:
    """Return the best current moves with a rare word or phrase of `text`, ranked by bm25."""
    rare = [token for token in content_tokens(text) if not is_in_more(db, token, RARE)]
    if not rare:
        return []
    required = [in_text(narrowing.phrases)] if narrowing.phrases else []
    rows = db.execute(
        "SELECT rowid, -bm25(moves_fts, 1.0, 0.0) AS score FROM moves_fts"
        " WHERE moves_fts MATCH ? ORDER BY score DESC, rowid DESC",
        [" AND ".join([in_text(rare, "OR"), *required])],
    )
    scored = ((row["rowid"], row["score"]) for row in rows)
    return list(Narrowing(narrowing.facets).first(db, framework, scored, limit))


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


def keys_with(texts: Iterable[tuple[str, str, str]], words: str) -> set[str]:
    """Return the keys of the texts that contain all words and phrases.

    Args:
        texts: the key, a title and the text of each; several may have one key.

    Raises:
        InputError: `words` is empty.
    """
    match = all_of(tokens(words))
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(
            "CREATE VIRTUAL TABLE texts USING fts5"
            f""" (key UNINDEXED, title, text, tokenize="{TOKENIZER}")"""
        )
        db.executemany("INSERT INTO texts VALUES (?, ?, ?)", texts)
        return {key for (key,) in db.execute("SELECT key FROM texts(?)", [match])}
