"""What a panel has been asked is kept, and found again by its content: no vote is paid for twice.

    key = "b1:" + sha256(canonical JSON of)
        input       sha256 of the abstract on one line
        moves       sha256 of the canonical JSON of the moves
        labels      what the moves are called in the prompt, in its order
        panel       sha256 of all that makes a vote (`Panel.digest`)
        form        how it is asked: kind and prefill
        model       sha256 of the judge's weights, by role; of a server that tells none, its backend
                    and the model's name there

Thresholds are no part of it: votes stay when the bar is moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError
from skills.corpus.db import reads
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import Row, insert, now, one
from skills.curate.curator import Judge, Vote
from skills.curate.inputs.items import Item
from skills.curate.panel import judges
from skills.nanda.framework import sha256_of

if TYPE_CHECKING:
    from sqlite_utils import Database

VERSION = "b1"
State = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class Ballot:
    """All votes on one annotation, in the panel's order.

    Attributes:
        id: its row.
        explanations: by persona, where one was asked for.
    """

    id: int
    votes: tuple[Vote, ...]
    explanations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an annotation has no votes."""

    error_type: str
    reason: str
    retryable: bool


def key_of(item: Item, judge: Judge) -> str:
    """The content key of an item's ballot; the same annotation has the same, probe or not."""
    parts = {
        "input": item.paper.sha256,
        "moves": item.moves_sha256,
        "labels": [move.label for move in judge.framework.moves],
        "panel": judge.panel.digest,
        "form": judges.way_of(judge.form),
        "model": judges.judge_of(judge.model),
    }
    return f"{VERSION}:{sha256_of(parts)}"


def state(db: Database, key: str) -> State | None:
    """How a ballot ended; None if it has not been tried to its end."""
    row = one(db, "SELECT status FROM ballots WHERE key = ? AND status <> 'begun'", [key])
    return None if row is None else row["status"]


def load(db: Database, key: str) -> Ballot | None:
    """The ballot of a key; None if it is not done."""
    row = one(db, "SELECT id FROM ballots WHERE key = ? AND status = 'done'", [key])
    if row is None:
        return None
    found = _votes(db, row["id"])
    return Ballot(
        row["id"],
        tuple(map(_vote, found)),
        {vote["persona"]: vote["explanation"] for vote in found if vote["explanation"] is not None},
    )


def begun(db: Database, key: str) -> dict[str, Vote]:
    """The votes, by persona, of a ballot that did not come to its end."""
    row = one(db, "SELECT id FROM ballots WHERE key = ? AND status <> 'done'", [key])
    return {vote["persona"]: _vote(vote) for vote in _votes(db, row["id"])} if row else {}


def refused(db: Database, key: str) -> Refused | None:
    """Why a ballot failed; None if it did not."""
    row = one(db, "SELECT * FROM ballots WHERE key = ? AND status = 'failed'", [key])
    return (
        None if row is None else Refused(row["error_type"], row["reason"], bool(row["retryable"]))
    )


def keep(
    db: Database,
    key: str,
    item: Item,
    judge: Judge,
    votes: Iterable[Vote],
    run_id: int | None,
) -> None:
    """Keep a ballot with all its votes."""
    with transaction(db):
        ballot_id = _replace(db, key, item, judge, run_id, status="done")
        db.conn.execute("DELETE FROM votes WHERE ballot_id = ?", [ballot_id])
        for vote in votes:
            _insert(db, ballot_id, vote)


def keep_vote(
    db: Database, key: str, item: Item, judge: Judge, vote: Vote, run_id: int | None
) -> None:
    """Keep one vote of a ballot that has not come to its end, unless another process has it.

    An invalid one is not kept: what kept the judge from answering may have passed when it is asked
    again.
    """
    if vote.score is None:
        return
    with transaction(db):
        row = one(db, "SELECT id, status FROM ballots WHERE key = ?", [key])
        if row is not None and row["status"] == "done":
            return
        ballot_id = row["id"] if row else _replace(db, key, item, judge, run_id, status="begun")
        db.conn.execute(
            "DELETE FROM votes WHERE ballot_id = ? AND persona = ?", [ballot_id, vote.persona]
        )
        _insert(db, ballot_id, vote)


def refuse(
    db: Database, key: str, item: Item, judge: Judge, error: Exception, run_id: int | None
) -> None:
    """Keep why an annotation could not be judged, unless another process has its votes."""
    known = error if isinstance(error, HarnessError) else None
    with transaction(db):
        if state(db, key) == "done":
            return
        _replace(
            db,
            key,
            item,
            judge,
            run_id,
            status="failed",
            error_type=type(error).__name__,
            reason=str(error),
            retryable=int(known is not None and known.retryable),
            raw_reply=known.reply if known else "",
        )


def counted(
    db: Database, ballot: Ballot, thresholds: Sequence[float], passes: Sequence[bool | None]
) -> None:
    """Note how each vote counted last, and against which threshold."""
    for vote, threshold, passed in zip(ballot.votes, thresholds, passes, strict=True):
        db.conn.execute(
            "UPDATE votes SET threshold = ?, passed = ? WHERE ballot_id = ? AND persona = ?",
            [threshold, None if passed is None else int(passed), ballot.id, vote.persona],
        )


def explained(db: Database, ballot: Ballot, persona: str, text: str) -> None:
    """Keep a persona's reason."""
    with transaction(db):
        db.conn.execute(
            "UPDATE votes SET explanation = ? WHERE ballot_id = ? AND persona = ?",
            [text, ballot.id, persona],
        )


def _replace(
    db: Database, key: str, item: Item, judge: Judge, run_id: int | None, **ended: Any
) -> int:
    """Write a ballot in place of one of the same key that was begun or has failed."""
    before = one(db, "SELECT id, attempts FROM ballots WHERE key = ?", [key])
    known = None if item.probe else reads.with_moves(db, item.paper, item.moves, judge.framework)
    columns = {
        "key": key,
        "annotation_id": known and known[0],
        "run_id": run_id,
        "source_id": item.paper.id,
        "input_sha256": item.paper.sha256,
        "moves_sha256": item.moves_sha256,
        "probe": item.probe or None,
        "model": judge.model.resolution.resolved,
        "attempts": (before["attempts"] if before else 0) + (ended["status"] != "begun"),
        "created_at": now(),
        **dict.fromkeys(("error_type", "reason", "retryable", "raw_reply")),
        **ended,
    }
    if before is None:
        return insert(db, "ballots", **columns)
    assigned = ", ".join(f"{name} = ?" for name in columns)
    db.conn.execute(
        f"UPDATE ballots SET {assigned} WHERE id = ?",  # noqa: S608  names are ours
        [*columns.values(), before["id"]],
    )
    return int(before["id"])


def _votes(db: Database, ballot_id: int) -> list[Row]:
    rows = db.conn.execute("SELECT * FROM votes WHERE ballot_id = ? ORDER BY id", [ballot_id])
    return rows.fetchall()


def _insert(db: Database, ballot_id: int, vote: Vote) -> None:
    insert(
        db,
        "votes",
        ballot_id=ballot_id,
        persona=vote.persona,
        score=vote.score,
        mass=vote.mass,
        answers=json.dumps(dict(vote.answers)),
        prompt_tokens=vote.prompt_tokens,
        cached_tokens=vote.cached_tokens,
        seconds=vote.seconds,
    )


def _vote(row: Row) -> Vote:
    return Vote(
        row["persona"],
        row["score"],
        row["mass"],
        json.loads(row["answers"]),
        row["prompt_tokens"],
        row["cached_tokens"],
        row["seconds"],
    )
