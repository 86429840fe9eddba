"""Implement /corpus duplicates and /corpus split."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound
from harness.terminal.rendering import table
from skills.corpus.db import merging, reads
from skills.corpus.db.connection import database, open_corpus, transaction
from skills.corpus.db.rows import insert, now
from skills.corpus.outputs import Pair, Pairs, PaperDetails, Side
from skills.nanda.text import counted


def report(call: Call) -> Result:
    if text := call.text.strip():
        raise InputError(f"/corpus duplicates takes no text, but got {text[:40]!r}")
    with open_corpus(database(call), must_exist=True) as db:
        found = reads.pairs(db)
    counts = Counter(pair.relation for pair in found)
    data = Pairs(pairs=found).model_dump()
    if not found:
        return Result("No paper was merged, linked or split.", data)
    total = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return Result(f"{counted(len(found), 'pair')}: {total}\n{pairs(found)}", data)


def split(call: Call) -> Result:
    wanted = call.text.strip()
    if not wanted:
        raise InputError("/corpus split needs an argument", hint="Usage: /corpus split ID")
    with open_corpus(database(call), must_exist=True) as db, transaction(db):
        rows = reads.rows_of(db, wanted)
        if len(rows) > 1:
            listed = ", ".join(map(str, rows))
            raise InputError(
                f"{wanted[:60]} is the id of several rows of the corpus: {listed}",
                hint=f"`/corpus split {rows[-1]}` splits the last row from the other rows.",
            )
        undone = separate(db, rows[0]) if rows else []
    if not undone:
        problem = "is neither merged nor linked" if rows else "is not in the corpus"
        raise NothingFound(
            f"the paper {wanted[:60]} {problem}",
            hint="`/corpus duplicates` shows the merged and linked papers.",
        )
    text = f"Split permanently:\n{pairs(undone)}"
    return Result(text, Pairs(pairs=undone).model_dump())


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
