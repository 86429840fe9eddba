"""Search moves by meaning, also combined with a search by words, and find similar papers.

The moves nearest to a query vector are found in three steps. The first step computes the Hamming
distance of the sign bits of the query vector and of a move's vector. The second step computes the
dot product of the query vector and the move's sign bits, and the third step the dot product of the
two vectors. Each step considers fewer moves than the step before, and is more exact.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from harness.errors import InputError
from skills.corpus.db.reads import rows_of
from skills.corpus.db.rows import Row, members, one
from skills.corpus.outputs import Hits, SimilarPaper
from skills.corpus.search.fulltext import (
    Narrowing,
    Scored,
    best_moves,
    by_any_word,
    content_tokens,
    in_text,
)
from skills.corpus.search.query_syntax import Query, phrases, tokens
from skills.corpus.search.vectors import Embedder, Ids, Vectors, blocks_of, signs, unpacked
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from skills.corpus.search.engine import Engine

BY_SIGNS = 20_000
"""Number of moves that the first step keeps."""
BY_VECTORS = 3_000
"""Number of moves that the second step keeps; the third step reads the vectors of these moves."""
FEW = 20_000
"""If at most this number of moves meet the conditions, only these moves are compared.

If more moves meet the conditions, all moves are ranked, and the conditions filter the ranked moves.
"""
K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)."""
DEPTH = 100
"""Number of results of each ranking that are fused, unless the limit of a query is higher."""
LEAST = 0.38
"""Minimum cosine similarity of a move and a query in `search`.

In the gold data, 98% of the titles have a higher similarity to a move of their paper. Words about
other subjects have a lower similarity.
"""

T = TypeVar("T", bound=Hashable)


def search(moves: Engine, query: Query) -> Hits:
    """Return the moves that match a query by meaning, or by words and meaning.

    With `query.by` "meaning", double quotes have no effect. With "both", the ranking by words and
    the ranking by meaning are fused, and every result contains the phrases in double quotes. If
    fewer than `limit` moves contain all words, moves that contain a rare word of the query are
    added to the ranking by words.

    `vectors.complete` must have been called.
    """
    text, limit, depth = query.text, query.limit, max(query.limit, DEPTH)
    needed = phrases(text) if query.by == "both" else ()
    narrowing = Narrowing.of(query, moves.years(), needed)
    [vector] = Embedder.load().embed([" ".join(tokens(text))])
    near = dict(nearest(moves, vector, query.moves, narrowing, limit=depth, least=LEAST))
    if query.by == "meaning":
        hits = moves.hits(list(near.items())[:limit], "")
        return Hits(hits=[hit.model_copy(update={"found_by": "meaning"}) for hit in hits])
    best, without_year = best_moves(moves, replace(query, limit=depth))
    with_words = dict(best)
    if len(with_words) < limit:
        for move_id, score in by_any_word(moves, text, narrowing, depth):
            with_words.setdefault(move_id, score)
    marked = in_text(content_tokens(text) or tokens(text), "OR")
    found = Hits(hits=[], without_year=without_year)
    for move_id, score in fused((list(with_words), list(near)))[:limit]:
        by_words = move_id in with_words
        [hit] = moves.hits([(move_id, score)], marked if by_words else "")
        hit.score = round(score, 5)
        hit.found_by = ("both" if move_id in near else "words") if by_words else "meaning"
        found.hits.append(hit)
    return found


def fused(rankings: Iterable[Sequence[T]]) -> list[tuple[T, float]]:
    """Return the members of all rankings with their reciprocal rank scores, the best first."""
    scores: defaultdict[T, float] = defaultdict(float)
    for ranking in rankings:
        for rank, member in enumerate(ranking, start=1):
            scores[member] += 1 / (K + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def similar_papers(moves: Engine, wanted: str, move: str | None, limit: int) -> list[SimilarPaper]:
    """Return the papers most similar to a paper in one or all of its moves, best first.

    If all moves are compared, the rankings by each move are fused, so that papers with several
    similar moves come first. `vectors.complete` must have been called.

    Args:
        wanted: any id of the paper (see `reads.rows_of`).
        move: the name of the move to compare; None for all stated moves.
        limit: maximum number of papers.

    Raises:
        InputError: the paper is not in the corpus, has no annotation, or does not state `move`.
    """
    db = moves.fts
    own = _moves(db, moves.framework, wanted)
    if move is not None:
        if move not in own:
            raise InputError(
                f"the paper {wanted[:60]} does not state its {move}",
                hint=f"The paper states {', '.join(own)}.",
            )
        own = {move: own[move]}
    near: defaultdict[int, dict[str, tuple[float, int]]] = defaultdict(dict)
    rankings = []
    for name, row in own.items():
        [vector] = unpacked([row["vector"]])
        most = max(limit, DEPTH) + 1
        found = nearest(moves, vector, [name], Narrowing(), limit=most, least=0.0)
        owners = dict(
            db.execute(
                "SELECT id, annotation_id FROM moves WHERE id IN (SELECT value FROM json_each(?))",
                [json.dumps([move_id for move_id, _ in found])],
            ).fetchall()
        )
        ranking = []
        for move_id, similarity in found:
            annotation = owners[move_id]
            if annotation != row["annotation_id"]:
                ranking.append(annotation)
                near[annotation][name] = round(similarity, 3), move_id
        rankings.append(ranking)
    return [_similar_paper(db, near[key]) for key, _ in fused(rankings)[:limit]]


def nearest(
    moves: Engine,
    vector: Vectors,
    names: Sequence[str],
    narrowing: Narrowing,
    *,
    limit: int,
    least: float,
) -> list[Scored]:
    """Return the moves of current annotations nearest to `vector`, with cosine similarities.

    Args:
        vector: a vector of length 1.
        names: the names of the moves to compare; all moves if empty.
        narrowing: conditions that the moves must meet.
        limit: maximum number of moves.
        least: minimum similarity.
    """
    db = moves.fts
    of_vector = signs(vector[None])
    blocks = [(np.zeros(0, np.int64), of_vector[:0], np.zeros(0, np.uint16))]
    for block_ids, block in blocks_of(db, moves.framework, names or moves.framework.names):
        differing = np.bitwise_count(block ^ of_vector).sum(axis=1, dtype=np.uint16)
        blocks.append((block_ids, block, differing))
    ids, stored, distances = (np.concatenate(column) for column in zip(*blocks, strict=True))
    if narrowing.match:
        sql = "SELECT rowid FROM moves_fts WHERE moves_fts MATCH ? LIMIT ?"
        matching = [rowid for (rowid,) in db.execute(sql, [narrowing.match, FEW + 1])]
        if len(matching) <= FEW:
            within = np.isin(ids, matching)
            ids, stored, distances = ids[within], stored[within], distances[within]
            narrowing = Narrowing()
    if len(ids) > BY_SIGNS:
        kept = np.argpartition(distances, BY_SIGNS)[:BY_SIGNS]
        ids, stored = ids[kept], stored[kept]
    if len(ids) > BY_VECTORS:
        products = np.unpackbits(stored.view(np.uint8), axis=1) @ vector
        ids = ids[np.argpartition(-products, BY_VECTORS)[:BY_VECTORS]]
    return list(narrowing.first(moves, _ranked(db, ids, vector, least), limit))


def _ranked(db: sqlite3.Connection, ids: Ids, vector: Vectors, least: float) -> Iterator[Scored]:
    """Yield the moves with these ids and their similarities to `vector`, the most similar first.

    Moves with a similarity below `least` are omitted.
    """
    rows = db.execute(
        "SELECT move_id, vector FROM vectors WHERE move_id IN (SELECT value FROM json_each(?))",
        [json.dumps(ids.tolist())],
    ).fetchall()
    if not rows:
        return
    similar = unpacked(row["vector"] for row in rows) @ vector
    for place in np.argsort(-similar, kind="stable").tolist():
        if similar[place] < least:
            return
        yield int(rows[place]["move_id"]), float(similar[place])


def _moves(db: sqlite3.Connection, framework: Framework, wanted: str) -> dict[str, Row]:
    """Return the stated moves of a paper's current annotation, with their vectors, by name.

    Raises:
        InputError: the paper is not in the corpus, or has no annotation.
    """
    paper = [member for row in rows_of(db, wanted) for member in members(db, row)]
    if not paper:
        raise InputError(
            f"the corpus has no paper {wanted[:60]}",
            hint="`/corpus search WORDS` and `/corpus filter` list the ids of papers.",
        )
    rows = db.execute(
        "SELECT move, annotation_id, vector FROM moves JOIN vectors ON move_id = moves.id"
        " WHERE annotation_id = (SELECT id FROM annotations WHERE framework = ? AND current = 1"
        "   AND paper_id IN (SELECT value FROM json_each(?)) ORDER BY paper_id LIMIT 1)"
        " ORDER BY moves.id",
        [framework.name, json.dumps(paper)],
    ).fetchall()
    if not rows:
        raise InputError(
            f"the paper {wanted[:60]} has no annotation", hint="`/annotate` annotates papers."
        )
    return {row["move"]: row for row in rows}


def _similar_paper(db: sqlite3.Connection, near: dict[str, tuple[float, int]]) -> SimilarPaper:
    """Return a similar paper, with the similarities of the moves in descending order.

    Args:
        near: for each similar move of the paper, its similarity and its id.
    """
    ordered = sorted(near.items(), key=lambda item: -item[1][0])
    row = one(
        db,
        "SELECT id_field, source_id AS id, title, year, moves.text, paper_id, annotation_id"
        " FROM moves JOIN papers ON papers.id = paper_id WHERE moves.id = ?",
        [ordered[0][1][1]],
    )
    return SimilarPaper(**dict(row or {}), near={move: found for move, (found, _) in ordered})
