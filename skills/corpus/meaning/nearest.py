"""Find the moves that are nearest to a vector.

In three steps, each for fewer moves and more exact: in how many signs two vectors differ, a bit for
each dimension; the product of one vector with the signs of the other; that of both vectors.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skills.corpus.meaning.embedding import Vectors
from skills.corpus.meaning.vectors import Ids, Signs, blocks_of, signs, unpacked
from skills.corpus.search.narrowing import Narrowing, Scored
from skills.nanda.framework import Framework

BY_SIGNS = 20_000
"""Moves that the first step leaves."""
BY_VECTORS = 3_000
"""Moves that the second step leaves, whose vectors are read."""
FEW = 20_000
"""Up to so many that match, only those are compared. Of more, enough are among the nearest."""


def nearest(
    db: sqlite3.Connection,
    framework: Framework,
    vector: Vectors,
    names: Sequence[str],
    narrowing: Narrowing,
    *,
    limit: int,
    least: float,
) -> list[Scored]:
    """Return the nearest of the current moves, with the cosines of their angles to `vector`.

    Args:
        vector: of length 1.
        names: of the moves that are compared; empty: all.
        narrowing: what they must meet.
        least: the similarity below which none is returned.
    """
    ids, stored, distances = _compared(db, framework, vector, names or framework.names)
    if narrowing.match:
        matching = _matching(db, narrowing.match)
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
    return list(narrowing.first(db, framework, _ranked(db, ids, vector, least), limit))


def _compared(
    db: sqlite3.Connection, framework: Framework, vector: Vectors, names: Sequence[str]
) -> tuple[Ids, Signs, NDArray[np.uint16]]:
    """Return ids and signs of moves, and in how many signs their vectors differ from this one."""
    of_vector = signs(vector[None])
    blocks = [(np.zeros(0, np.int64), of_vector[:0], np.zeros(0, np.uint16))]
    for ids, stored in blocks_of(db, framework, names):
        distances = np.bitwise_count(stored ^ of_vector).sum(axis=1, dtype=np.uint16)
        blocks.append((ids, stored, distances))
    of_ids, of_signs, of_distances = zip(*blocks, strict=True)
    return np.concatenate(of_ids), np.concatenate(of_signs), np.concatenate(of_distances)


def _ranked(db: sqlite3.Connection, ids: Ids, vector: Vectors, least: float) -> Iterator[Scored]:
    """Yield these moves, the nearest first."""
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


def _matching(db: sqlite3.Connection, match: str) -> Ids:
    """Return the ids of the moves that match, with `FEW` + 1 of more."""
    sql = "SELECT rowid FROM moves_fts WHERE moves_fts MATCH ? LIMIT ?"
    return np.fromiter((row[0] for row in db.execute(sql, [match, FEW + 1])), dtype=np.int64)
