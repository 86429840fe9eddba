"""Find the papers whose annotations are nearest to that of one paper."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InputError
from skills.corpus.db.reads import rows_of
from skills.corpus.db.rows import Row, one
from skills.corpus.db.works import groups
from skills.corpus.meaning.hybrid import DEPTH, fused
from skills.corpus.meaning.nearest import nearest
from skills.corpus.meaning.vectors import unpacked
from skills.corpus.search.narrowing import Narrowing
from skills.nanda.framework import Framework

LEAST = 0.0


@dataclass(frozen=True, slots=True)
class Similar:
    """A paper near another one.

    Attributes:
        near: by move, its similarity to the same move of the other paper, the nearest first.
        text: that of the nearest move.
    """

    id_field: str
    id: str
    title: str
    year: int | None
    near: dict[str, float]
    text: str
    paper_id: int
    annotation_id: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: the id under its own name, then the other fields."""
        fields = ("title", "year", "near", "text", "paper_id", "annotation_id")
        return {self.id_field: self.id, **{name: getattr(self, name) for name in fields}}


def papers(
    db: sqlite3.Connection, framework: Framework, wanted: str, move: str | None, limit: int
) -> list[Similar]:
    """Return the papers nearest to one by a move, or by all their moves.

    By all: the rankings by each move are fused, so that a paper that is near in several comes
    first. The vectors must be complete (`vectors.complete`).

    Args:
        wanted: any id of the paper (`reads.rows_of`).

    Raises:
        InputError: it is not in the corpus, or does not state the move.
    """
    own = _moves(db, framework, wanted)
    if move is not None:
        if move not in own:
            raise InputError(
                f"the paper {wanted[:60]} does not state its {move}",
                hint=f"It states {', '.join(own)}.",
            )
        own = {move: own[move]}
    near: dict[int, dict[str, float]] = {}
    texts: dict[tuple[int, str], int] = {}
    rankings = []
    for name, row in own.items():
        [vector] = unpacked([row["vector"]])
        found = nearest(
            db, framework, vector, [name], Narrowing(), limit=max(limit, DEPTH) + 1, least=LEAST
        )
        owners = _annotations(db, [move_id for move_id, _ in found])
        ranking = []
        for move_id, similarity in found:
            annotation = owners[move_id]
            if annotation != row["annotation_id"]:
                ranking.append(annotation)
                near.setdefault(annotation, {})[name] = round(similarity, 3)
                texts[annotation, name] = move_id
        rankings.append(ranking)
    return [_paper(db, near[key], key, texts) for key, _ in fused(rankings)[:limit]]


def _moves(db: sqlite3.Connection, framework: Framework, wanted: str) -> dict[str, Row]:
    """Return the stated moves of the current annotation of a paper, with their vectors."""
    members = [member for row in rows_of(db, wanted) for member in groups.members(db, row)]
    if not members:
        raise InputError(
            f"the corpus has no paper {wanted[:60]}",
            hint="`/corpus search WORDS` and `/corpus filter` list the ids of papers.",
        )
    rows = db.execute(
        "SELECT move, annotation_id, vector FROM moves JOIN vectors ON move_id = moves.id"
        " WHERE annotation_id = (SELECT id FROM annotations WHERE framework = ? AND current = 1"
        "   AND paper_id IN (SELECT value FROM json_each(?)) ORDER BY paper_id LIMIT 1)"
        " ORDER BY moves.id",
        [framework.name, json.dumps(members)],
    ).fetchall()
    if not rows:
        raise InputError(
            f"the paper {wanted[:60]} has no annotation", hint="`/annotate` creates one."
        )
    return {row["move"]: row for row in rows}


def _annotations(db: sqlite3.Connection, move_ids: Sequence[int]) -> dict[int, int]:
    rows = db.execute(
        "SELECT id, annotation_id FROM moves WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(move_ids)],
    )
    return {row["id"]: row["annotation_id"] for row in rows}


def _paper(
    db: sqlite3.Connection,
    near: dict[str, float],
    annotation: int,
    texts: dict[tuple[int, str], int],
) -> Similar:
    ordered = dict(sorted(near.items(), key=lambda item: -item[1]))
    row = one(
        db,
        "SELECT id_field, source_id AS id, title, year, moves.text, paper_id, annotation_id"
        " FROM moves JOIN papers ON papers.id = paper_id WHERE moves.id = ?",
        [texts[annotation, next(iter(ordered))]],
    )
    return Similar(**dict(row or {}), near=ordered)
