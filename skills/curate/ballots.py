"""What a panel has been asked is kept, and found again by its content: no vote is paid for twice.

    key = "b1:" + sha256(canonical JSON of)
        input       sha256 of the abstract on one line
        moves       sha256 of the canonical JSON of the moves
        labels      what the moves are called in the prompt, in its order
        panel       sha256 of all that the judge is sent (`Panel.digest`)
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
from harness.models import ServedModel
from skills.corpus import listing
from skills.corpus.database import transaction
from skills.corpus.rows import Row, insert, now, one
from skills.curate.curator import Judge, Vote, VoteForm
from skills.curate.items import Item
from skills.curate.panel import Panel
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


def judge_of(model: ServedModel) -> str:
    """What tells one judge from another: the digests of its weights, else where it is served."""
    serve = model.resolution.chosen.serve
    return sha256_of(dict(model.digests) or f"{serve.backend}/{serve.where}")


@dataclass(frozen=True, slots=True)
class JudgeBefore:
    """Who judged an input last.

    Attributes:
        judge: as of `judge_of`.
        model, served: its name in the registry, and where it was served.
    """

    judge: str
    model: str
    served: str


def judge_before(db: Database, source: str) -> JudgeBefore | None:
    """Who judged this input in the last run that came to a vote; None if there was none."""
    row = one(
        db,
        "SELECT model, settings FROM runs WHERE skill = 'curate' AND input = ? AND ("
        " EXISTS (SELECT 1 FROM ballots WHERE run_id = runs.id AND status = 'done') OR EXISTS"
        " (SELECT 1 FROM verdicts WHERE run_id = runs.id AND ballot_id IS NOT NULL))"
        " ORDER BY id DESC LIMIT 1",
        [source],
    )
    if row is None:
        return None
    settings = json.loads(row["settings"])
    return JudgeBefore(settings.get("judge", ""), row["model"], settings["served"])


def key_of(item: Item, judge: Judge) -> str:
    """The content key of an item's ballot; the same annotation has the same, probe or not."""
    parts = {
        "input": item.paper.sha256,
        "moves": item.moves_sha256,
        "labels": [move.label for move in judge.framework.moves],
        "panel": judge.panel.digest,
        "form": [judge.form.kind, judge.form.prefill],
        "model": judge_of(judge.model),
    }
    return f"{VERSION}:{sha256_of(parts)}"


def asked(judge: Judge) -> str:
    """What tells one way of asking a judge from another: the panel, and the form."""
    return sha256_of([judge.panel.digest, judge.form.kind, judge.form.prefill])


def state(db: Database, key: str) -> State | None:
    """How a ballot ended; None if it has not been tried to its end."""
    row = one(db, "SELECT status FROM ballots WHERE key = ?", [key])
    return None if row is None else row["status"]


def load(db: Database, key: str) -> Ballot | None:
    """The ballot of a key; None if it is not done."""
    row = one(db, "SELECT id FROM ballots WHERE key = ? AND status = 'done'", [key])
    if row is None:
        return None
    rows = db.conn.execute("SELECT * FROM votes WHERE ballot_id = ? ORDER BY id", [row["id"]])
    found = rows.fetchall()
    return Ballot(
        row["id"],
        tuple(map(_vote, found)),
        {vote["persona"]: vote["explanation"] for vote in found if vote["explanation"] is not None},
    )


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
        for vote in votes:
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


def known_form(db: Database, model: ServedModel, panel: Panel) -> VoteForm | None:
    """How this judge is asked by this panel, if it has been measured."""
    row = one(
        db,
        "SELECT * FROM judge_forms WHERE judge = ? AND panel = ?",
        [judge_of(model), _compared(panel)],
    )
    if row is None:
        return None
    return VoteForm(row["kind"], row["prefill"], row["mass"], json.loads(row["measured"]))


def keep_form(db: Database, model: ServedModel, panel: Panel, form: VoteForm) -> VoteForm:
    """Keep how a judge is asked, so that it is asked the same from now on.

    Returns: the form that holds: the first, where another process has measured meanwhile.
    """
    with transaction(db):
        if known := known_form(db, model, panel):
            return known
        insert(
            db,
            "judge_forms",
            judge=judge_of(model),
            panel=_compared(panel),
            kind=form.kind,
            prefill=form.prefill,
            mass=form.mass,
            measured=json.dumps(dict(form.measured)),
            created_at=now(),
        )
    return form


def _compared(panel: Panel) -> str:
    """The panel with the beginnings that were compared."""
    return sha256_of([panel.digest, list(panel.prefills)])


def _replace(
    db: Database, key: str, item: Item, judge: Judge, run_id: int | None, **ended: Any
) -> int:
    """Write a ballot in place of a failed one of the same key."""
    before = one(db, "SELECT id, attempts FROM ballots WHERE key = ?", [key])
    known = None if item.probe else listing.with_moves(db, item.paper, item.moves, judge.framework)
    columns = {
        "key": key,
        "annotation_id": known and known[0],
        "run_id": run_id,
        "source_id": item.paper.id,
        "input_sha256": item.paper.sha256,
        "moves_sha256": item.moves_sha256,
        "probe": item.probe or None,
        "model": judge.model.resolution.resolved,
        "attempts": (before["attempts"] if before else 0) + 1,
        "created_at": now(),
        **dict.fromkeys(("error_type", "reason", "retryable", "raw_reply")),
        **ended,
    }
    if before is None:
        return insert(db, "ballots", **columns)
    db.conn.execute("DELETE FROM votes WHERE ballot_id = ?", [before["id"]])
    assigned = ", ".join(f"{name} = ?" for name in columns)
    db.conn.execute(
        f"UPDATE ballots SET {assigned} WHERE id = ?",  # noqa: S608  names are ours
        [*columns.values(), before["id"]],
    )
    return int(before["id"])


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
