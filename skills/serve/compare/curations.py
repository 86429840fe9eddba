"""What a curation decided: its verdicts with the votes of the panel, and its probes."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skills.corpus.db.rows import Row

ROWS = 50


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A page of the verdicts of a run.

    Attributes:
        counts: verdicts by decision, without probes; probes by "probe".
        votes: by ballot.
        papers: the numbers of the papers that the corpus has, by id.
        last: the key of the last row, if there are more; else 0.
    """

    rows: Sequence[Row]
    counts: Mapping[str, int]
    votes: Mapping[int, Sequence[Row]]
    personas: Sequence[str]
    papers: Mapping[str, int]
    last: int


def verdicts(db: sqlite3.Connection, run: int, shown: str, after: int) -> Verdicts:
    """Return the verdicts of a run after a row.

    Args:
        shown: a decision, "probe", or "" for all.
    """
    counts: Counter[str] = Counter()
    for decision, is_probe, number in db.execute(
        "SELECT decision, probe IS NOT NULL, count(*) FROM verdicts WHERE run_id = ? GROUP BY 1, 2",
        [run],
    ):
        counts["probe" if is_probe else decision] += number
    rows = db.execute(
        "SELECT * FROM verdicts WHERE run_id = ? AND id > ? AND (? = '' OR ? ="
        " CASE WHEN probe IS NULL THEN decision ELSE 'probe' END) ORDER BY id LIMIT ?",
        [run, after, shown, shown, ROWS + 1],
    ).fetchall()
    page, has_more = rows[:ROWS], len(rows) > ROWS
    votes: dict[int, list[Row]] = {}
    for row in db.execute(
        "SELECT * FROM votes WHERE ballot_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        [json.dumps([row["ballot_id"] for row in page if row["ballot_id"]])],
    ):
        votes.setdefault(row["ballot_id"], []).append(row)
    personas = dict.fromkeys(vote["persona"] for of in votes.values() for vote in of)
    papers = db.execute(
        "SELECT source_id, min(id) FROM papers WHERE source_id IN (SELECT value FROM json_each(?))"
        " GROUP BY source_id",
        [json.dumps([row["source_id"] for row in page])],
    )
    last = page[-1]["id"] if has_more else 0
    return Verdicts(page, counts, votes, list(personas), dict(map(tuple, papers)), last)


def shown_verdict(row: Row, votes: Sequence[Row], personas: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows of a verdict: its scores in the order of the personas."""
    by_persona = {vote["persona"]: vote for vote in votes}
    return {
        "id": row["source_id"],
        "probe": row["probe"] or "",
        "decision": row["decision"],
        "reasons": row["reasons"],
        "mean": row["mean"],
        "votes": [by_persona.get(persona) for persona in personas],
        "explanations": [
            (vote["persona"], vote["explanation"]) for vote in votes if vote["explanation"]
        ],
    }
