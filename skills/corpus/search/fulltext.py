"""Search moves, papers and other texts with SQLite's full-text search, FTS5.

A database and the index of a folder of parts both have the table `moves_fts`. `Engine` provides
the SQL that differs between a database and an index.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from skills.corpus.db.facets import word
from skills.corpus.db.papers import stored
from skills.corpus.db.rows import one
from skills.corpus.db.schema import TOKENIZER
from skills.corpus.search.query_syntax import Query, all_of, quoted, tokens
from skills.nanda.paper import Paper, iso_date
from skills.nanda.text import STOP_WORDS

if TYPE_CHECKING:
    from skills.corpus.search.engine import Engine

RANKED = 2_000
"""Maximum number of ranked matches, since bm25 is slow: only the latest matches are ranked."""
COMMON = 100_000
"""A word that occurs in more than this number of moves does not affect the ranking.

bm25 would count all moves with such a word in each search, and then give the word a small weight.
"""
RARE = 5_000
"""Maximum number of moves that contain a rare word; bm25 must rank all moves with the word."""
COMMON_IN_PAPERS = 20_000
"""Maximum number of matching papers that are ranked: bm25 takes microseconds for each paper.

If more papers match, the latest papers come first, and moves are not searched.
"""
SNIPPET_WORDS = 32
MARK = "**"
NO_YEAR = "none"
"""The year in a condition that no paper meets."""

Scored = tuple[int, float]
"""The id of a move, and its score."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Conditions that moves must meet in addition to the words of a query.

    Attributes:
        facets: groups of facet words (see `db/facets.py`). A move must have one word of each group.
        phrases: words and phrases that the text of a move must contain.
    """

    facets: tuple[frozenset[str], ...] = ()
    phrases: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, query: Query, years: Iterable[int | None], phrases: Sequence[str] = ()
    ) -> Narrowing:
        """Return the conditions of a query: its moves, categories and years, and `phrases`.

        Args:
            years: the different years of papers (see `Engine.years`).
        """
        groups = [[word("move", name) for name in query.moves]]
        groups.append([word("category", category) for category in query.categories])
        if query.years is not None:
            among = [word("year", year) for year in query.years.among(years)]
            groups.append(among or [word("year", NO_YEAR)])
        return cls(tuple(map(frozenset, filter(None, groups))), tuple(phrases))

    @property
    def match(self) -> str:
        """The conditions as an FTS5 expression, or "" if there are none."""
        either = (" OR ".join(map(quoted, sorted(group))) for group in self.facets)
        found = [f"facets : ({words})" for words in either]
        return " AND ".join([*found, in_text(self.phrases)] if self.phrases else found)

    def first(self, moves: Engine, scored: Iterable[Scored], limit: int) -> Iterator[Scored]:
        """Yield the first `limit` moves of current annotations that meet the conditions.

        Args:
            scored: the ids of moves with their scores, the best first.
        """
        facets_of = "SELECT facets FROM moves WHERE id = ? AND framework = ? AND current = 1"
        matches = "SELECT 1 FROM moves_fts WHERE rowid = ? AND moves_fts MATCH ?"
        phrases = in_text(self.phrases)
        for move_id, score in scored:
            row = one(moves.fts, facets_of, [move_id, moves.framework.name])
            if row is None or any(map(frozenset(row["facets"].split()).isdisjoint, self.facets)):
                continue
            if self.phrases and one(moves.fts, matches, [move_id, phrases]) is None:
                continue
            yield move_id, score
            limit -= 1
            if not limit:
                return


def best_moves(moves: Engine, query: Query) -> tuple[list[Scored], int]:
    """Find the moves that contain all words and phrases of a query, ranked by bm25.

    If there are more than `RANKED` matches, only the latest matches are ranked. If every word
    occurs in more than `COMMON` moves, the matches are not ranked: the latest matches come first,
    with a score of 0.

    Returns:
        The best moves; and, for a query with years, the number of matching papers without a year,
        or else 0.

    Raises:
        InputError: the query has no words.
    """
    wanted, without_year = tokens(query.text), 0
    years = moves.years() if query.years is not None else []
    if None in years:
        dateless = Narrowing.of(replace(query, years=None), ())
        of_no_year = Narrowing((*dateless.facets, frozenset([word("year", "")])), tuple(wanted))
        [without_year] = moves.fts.execute(
            f"SELECT count(DISTINCT {moves.fts_paper}) FROM {moves.fts_moves}"  # noqa: S608
            " AND moves_fts MATCH ?",
            [of_no_year.match],
        ).fetchone()
    ranking = [word for word in " ".join(wanted).split() if not is_in_more(moves.fts, word, COMMON)]
    found = moves.fts.execute(
        f"SELECT moves_fts.rowid FROM {moves.fts_moves} AND moves_fts MATCH ?"  # noqa: S608
        " ORDER BY moves_fts.rowid DESC LIMIT ?",
        [Narrowing.of(query, years, wanted).match, RANKED if ranking else query.limit],
    )
    newest = [move_id for (move_id,) in found]
    if not ranking:
        return [(move_id, 0.0) for move_id in newest], without_year
    # bm25 counts all rows that contain a phrase of its expression. The expression contains no
    # facets, since many rows have the same facet. The unary plus keeps SQLite from running the
    # full-text query for each id of the list.
    rows = moves.fts.execute(
        "SELECT rowid, -bm25(moves_fts, 1.0, 0.0) AS score FROM moves_fts"
        " WHERE moves_fts MATCH ? AND rowid >= ? AND +rowid IN (SELECT value FROM json_each(?))"
        " ORDER BY score DESC, rowid DESC LIMIT ?",
        [in_text(ranking), min(newest, default=0), json.dumps(newest), query.limit],
    )
    return [(move_id, score) for move_id, score in rows], without_year


def by_any_word(moves: Engine, text: str, narrowing: Narrowing, limit: int) -> list[Scored]:
    """Return the best moves with at least one rare word or phrase of `text`, ranked by bm25.

    Only moves of current annotations that meet `narrowing` are returned. A word is rare if at most
    `RARE` moves contain the word.
    """
    rare = [token for token in content_tokens(text) if not is_in_more(moves.fts, token, RARE)]
    if not rare:
        return []
    required = [in_text(narrowing.phrases)] if narrowing.phrases else []
    scored = moves.fts.execute(
        "SELECT rowid, -bm25(moves_fts, 1.0, 0.0) AS score FROM moves_fts"
        " WHERE moves_fts MATCH ? ORDER BY score DESC, rowid DESC",
        [" AND ".join([in_text(rare, "OR"), *required])],
    )
    return list(Narrowing(narrowing.facets).first(moves, scored, limit))


def content_tokens(text: str) -> list[str]:
    """Return the words and phrases of a query, without stop words."""
    return [token for token in tokens(text) if token.casefold() not in STOP_WORDS]


def in_text(words: Sequence[str], joined: str = "AND") -> str:
    """Return the FTS5 expression for moves whose text contains the words.

    Args:
        joined: "AND" if all words must occur, or "OR" if at least one word must occur.
    """
    return f"text : ({f' {joined} '.join(map(quoted, words))})"


def is_in_more(db: sqlite3.Connection, word: str, moves: int) -> bool:
    """Return True if more than `moves` moves contain a word, or if the word has only symbols."""
    if not any(map(str.isalnum, word)):
        return True
    sql = "SELECT 1 FROM moves_fts WHERE moves_fts MATCH ? LIMIT 1 OFFSET ?"
    return one(db, sql, [in_text([word]), moves]) is not None


def beginning_of(text: str) -> str:
    """Return the first `SNIPPET_WORDS` words of a text, with " ..." if more words follow."""
    words = text.split()
    return text if len(words) <= SNIPPET_WORDS else " ".join(words[:SNIPPET_WORDS]) + " ..."


def find_papers(moves: Engine, words: str) -> None:
    """Find the papers of a database that contain all words, and store their ids in `temp.found`.

    A paper is found if its id is `words`, if its title and abstract together contain all words, or
    if one of its moves contains all words. The scores rank the papers in this order; the lowest
    score is the best. If the titles and abstracts of more than `COMMON_IN_PAPERS` papers match, the
    latest papers come first, and moves are not searched.

    Raises:
        InputError: `words` contains no word.
    """
    db, match = moves.fts, all_of(tokens(words))
    rows = db.execute("SELECT id FROM papers WHERE source_id = ?", [words.strip()])
    keep_found(db, [(row["id"], -1e9) for row in rows])
    in_papers = "FROM papers_fts WHERE papers_fts MATCH ?"
    [(count,)] = db.execute(f"SELECT count(*) {in_papers}", [match])
    score = "bm25(papers_fts)" if count <= COMMON_IN_PAPERS else "-rowid"
    insert = "INSERT OR IGNORE INTO temp.found SELECT"
    db.execute(f"{insert} rowid, {score} {in_papers}", [match])
    if count <= COMMON_IN_PAPERS:
        db.execute(
            f"{insert} {moves.fts_paper}, 1.0 FROM {moves.fts_moves} AND moves_fts MATCH ?",
            [f"text : ({match})"],
        )


def keep_found(db: sqlite3.Connection, found: Iterable[tuple[int | str, float]]) -> None:
    """Replace the rows of the temporary table `found` by the ids and scores of found papers."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS found (id INTEGER PRIMARY KEY, score REAL)")
    db.execute("DELETE FROM temp.found")
    db.executemany("INSERT OR IGNORE INTO temp.found VALUES (?, ?)", found)


def papers_about(
    db: sqlite3.Connection,
    words: Sequence[str],
    limit: int,
    since: date | None = None,
    until: date | None = None,
    *,
    fewest: int | None = None,
) -> list[Paper]:
    """Return papers with all of `words`, or at least `fewest` of them, in title and abstract.

    Papers with all words come first. Both the papers with all words and the other papers are ranked
    by bm25. If the corpus has several versions of an arXiv paper, only the version that was added
    last is returned. If several papers have the same abstract, only the best paper is returned. A
    paper without a date is omitted if `since` or `until` is given.

    Args:
        words: words or phrases, without stop words.
        limit: maximum number of papers.
        since: the first day of publication, or None. If only the year of a paper is known, the
            years are compared.
        until: the last day of publication, or None; years are compared in the same way.
        fewest: minimum number of `words` in a paper; None for all.
    """
    wanted = list(dict.fromkeys(word for word in words if any(map(str.isalnum, word))))
    if not wanted:
        return []
    each = " UNION ALL ".join(
        ["SELECT rowid AS id FROM papers_fts WHERE papers_fts MATCH ?"] * len(wanted)
    )
    rows = db.execute(
        "SELECT papers.id, sha256, published FROM papers_fts JOIN"  # noqa: S608  a subquery for each word
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
    best: dict[str, int] = {}
    for row in rows:
        if len(best) == limit:
            break
        if _is_between(row["published"], since, until):
            best.setdefault(row["sha256"], row["id"])
    return [stored(db, paper_id) for paper_id in best.values()]


def _is_between(published: str, since: date | None, until: date | None) -> bool:
    day = iso_date(published)
    if not day:
        return since is None and until is None
    is_early = since is not None and day < since.isoformat()[: len(day)]
    return not is_early and (until is None or day <= until.isoformat())


def keys_with(texts: Iterable[tuple[str, str, str]], words: str) -> set[str]:
    """Return the keys of the texts whose title and content together contain all of `words`.

    Args:
        texts: the key, the title and the content of each text; keys may repeat.
        words: words, and phrases in double quotes.

    Raises:
        InputError: `words` contains no word.
    """
    match = all_of(tokens(words))
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(
            "CREATE VIRTUAL TABLE texts USING fts5"
            f""" (key UNINDEXED, title, text, tokenize="{TOKENIZER}")"""
        )
        db.executemany("INSERT INTO texts VALUES (?, ?, ?)", texts)
        return {key for (key,) in db.execute("SELECT key FROM texts(?)", [match])}
