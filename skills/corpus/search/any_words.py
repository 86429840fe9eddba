"""Find moves that contain some of the words of a query."""

from __future__ import annotations

import sqlite3

from skills.corpus.search.fulltext import in_text, is_in_more
from skills.corpus.search.narrowing import Narrowing, Scored
from skills.corpus.search.query_syntax import tokens
from skills.nanda.framework import Framework
from skills.nanda.text import STOP_WORDS

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
