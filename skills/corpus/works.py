"""Split merged papers, and render the pairs of merged, linked and split rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from harness.terminal.rendering import table
from skills.corpus.db import merging, reads
from skills.corpus.db.rows import insert, now
from skills.corpus.outputs import Pair, PaperDetails, Side


def separate(db: sqlite3.Connection, paper_id: int) -> list[Pair]:
    """Undo the merges and links of a row, and record that they were split.

    No annotation is lost: for a paper that is left without a current annotation, the latest
    annotation becomes current. The caller must provide the transaction.

    Returns:
        The pairs as they were before.
    """
    undone = [pair for pair in reads.pairs(db, paper_id) if pair.relation != "split"]
    others = [other for other in merging.members(db, paper_id) if other != paper_id]
    db.execute(
        "UPDATE duplicates SET relation = 'split' WHERE ? IN (paper_id, other_id)", [paper_id]
    )
    known = {row for pair in undone for row in (pair.paper.row, pair.other.row)}
    for other in others:
        if other not in known:  # merged only through a third row
            first, second = sorted((paper_id, other))
            insert(
                db,
                "duplicates",
                paper_id=first,
                other_id=second,
                relation="split",
                rule="",
                evidence="",
                created_at=now(),
            )
    for row in (paper_id, *others):
        _restore_newest(db, merging.members(db, row))
    return undone


def _restore_newest(db: sqlite3.Connection, paper_ids: list[int]) -> None:
    """For frameworks without a current annotation of a paper, make the latest one current."""
    kept = {row["framework"] for row in merging.current_annotations(db, paper_ids)}
    newest = db.execute(
        "SELECT id, framework FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) ORDER BY created_at DESC, id DESC",
        [json.dumps(paper_ids)],
    ).fetchall()
    for row in newest:
        if row["framework"] not in kept:
            kept.add(row["framework"])
            merging.set_current(db, row["id"], True)


def pairs(found: Sequence[Pair]) -> str:
    """Return a table of pairs."""
    rows = [
        (one.relation, *map(_side, (one.paper, one.other)), one.rule, one.evidence) for one in found
    ]
    return table(("", "paper", "and", "rule", "evidence"), rows)


def other_sources(found: PaperDetails) -> list[str]:
    """Return lines about the other identifiers of a paper, and about its merged or linked rows."""
    other = [f"{kind} {value}" for kind, value in found.identifiers.items()]
    lines = [", ".join(one for one in other if not one.endswith(f" {found.id}"))]
    for pair in found.duplicates:
        side = pair.other if pair.paper.row == found.row else pair.paper
        why = f": {pair.rule} ({pair.evidence})" if pair.rule else ""
        preposition = "from" if pair.relation == "split" else "with"
        lines.append(f"{pair.relation.title()} {preposition} {_side(side)}{why}")
    return list(filter(None, lines))


def _side(side: Side) -> str:
    return f"{side.id} (paper {side.row})"
