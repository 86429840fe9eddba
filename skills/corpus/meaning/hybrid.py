"""Search moves by words and by meaning, and fuse the two rankings."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from skills.corpus.meaning.embedding import Embedder
from skills.corpus.meaning.nearest import nearest
from skills.corpus.search.any_words import by_any_word, content_tokens
from skills.corpus.search.fulltext import (
    SNIPPET_WORDS,
    Found,
    Hit,
    Tables,
    best_moves,
    in_text,
)
from skills.corpus.search.narrowing import Narrowing, Scored
from skills.corpus.search.query_syntax import Query, phrases, tokens

K = 60
"""The constant of reciprocal rank fusion, from its paper (Cormack, Clarke and Buettcher 2009)."""
DEPTH = 100
"""Of each ranking, so many are fused."""
LEAST = 0.38
"""A move that is less similar to a query is not found by meaning. Of the titles of the gold data,
98% are nearer to a move of their paper; words that no move is about are not."""

T = TypeVar("T", bound=Hashable)


def fused(rankings: Iterable[Sequence[T]]) -> list[tuple[T, float]]:
    """Return the members of rankings, best first, with the sums of their reciprocal ranks."""
    scores: defaultdict[T, float] = defaultdict(float)
    for ranking in rankings:
        for rank, one in enumerate(ranking, start=1):
            scores[one] += 1 / (K + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def search(tables: Tables, query: Query) -> Found:
    """Find moves by meaning, or by both words (`fulltext.search`) and meaning.

    By both: moves with all words come first among those found by words; if these are few, moves
    with some of them follow. A phrase in double quotes must be in every move that is found. By
    meaning alone, quotes are ignored.

    The vectors must be complete (`vectors.complete`).
    """
    db, framework, text, limit = tables.db, tables.framework, query.text, query.limit
    plain, depth = " ".join(tokens(text)), max(limit, DEPTH)
    narrowing = Narrowing.of(db, query, phrases(text) if query.by == "both" else ())
    [vector] = Embedder.load().embed([plain])
    near = nearest(db, framework, vector, query.moves, narrowing, limit=depth, least=LEAST)
    if query.by == "meaning":
        return Found(tuple(near_hits(db, near[:limit])), 0)
    best = best_moves(tables, replace(query, limit=depth))
    ranked = dict(best.moves)
    if len(ranked) < limit:
        some = by_any_word(db, text, framework, narrowing, depth)
        ranked |= {move_id: score for move_id, score in some if move_id not in ranked}
    marked = in_text(content_tokens(text) or tokens(text), "OR")
    hits = _both(tables, marked, list(ranked), near, limit)
    return Found(tuple(hits), best.without_year)


def near_hits(db: sqlite3.Connection, near: Sequence[Scored]) -> Iterator[Hit]:
    """Yield moves found by meaning, with their similarity as the score."""
    for move_id, similarity in near:
        row = db.execute(
            "SELECT id_field, source_id AS id, title, year, move, moves.text, paper_id,"
            " annotation_id, (SELECT CASE WHEN json_valid(record)"
            "   THEN json_extract(record, '$.confidence.' || move) END FROM annotations"
            " WHERE annotations.id = annotation_id) AS confidence"
            " FROM moves JOIN papers ON papers.id = paper_id WHERE moves.id = ?",
            [move_id],
        ).fetchone()
        score = round(similarity, 3)
        yield Hit(**dict(row), snippet=_begin(row["text"]), score=score, found_by="meaning")


def _both(
    tables: Tables, words: str, by_words: Sequence[int], near: Sequence[Scored], limit: int
) -> Iterator[Hit]:
    """Yield the best of both rankings, with the sum of the reciprocal ranks as the score.

    Args:
        words: the FTS5 expression for the words that snippets mark.
    """
    similar = dict(near)
    with_words = set(by_words)
    for move_id, score in fused((by_words, list(similar)))[:limit]:
        if move_id in with_words:
            [hit] = tables.hits(words, [(move_id, score)])
        else:
            [hit] = near_hits(tables.db, [(move_id, score)])
        found_by = "both" if move_id in with_words and move_id in similar else hit.found_by
        yield replace(hit, score=round(score, 5), found_by=found_by)


def _begin(text: str) -> str:
    words = text.split()
    return text if len(words) <= SNIPPET_WORDS else " ".join(words[:SNIPPET_WORDS]) + " ..."
