"""Store ballots in the corpus under content keys, so that no vote is requested twice.

    key = "b1:" + sha256(canonical JSON of these fields)
        input       sha256 of the abstract as one line (`Paper.sha256`)
        moves       sha256 of the canonical JSON of the moves
        labels      the labels of the moves, in the order of the prompt
        panel       the digest of the panel (`Panel.digest`)
        form        kind and prefill of the vote form
        model       the id of the judge, from `judge_id`

Thresholds are not in the key, so that votes remain valid when thresholds change.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import HarnessError
from harness.models.served import ServedModel
from harness.redaction import redact
from harness.support.text_input import well_formed
from skills.corpus.db import reads
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import Row, insert, now, one, stored_json, update
from skills.curate.curator import Ballot, Criteria, Judge, Verdict, Vote
from skills.curate.items import Item
from skills.curate.outputs import VoteForm
from skills.curate.panel import Panel
from skills.nanda.framework import sha256_of

VERSION = "b1"


def key_of(item: Item, judge: Judge) -> str:
    """Return the content key of the ballot on an item; equal annotations have equal keys."""
    parts = {
        "input": item.paper.sha256,
        "moves": item.moves_sha256,
        "labels": [move.label for move in judge.framework.moves],
        "panel": judge.panel.digest,
        "form": [judge.form.kind, judge.form.prefill],
        "model": judge_id(judge.model),
    }
    return f"{VERSION}:{sha256_of(parts)}"


@dataclass(slots=True)
class Ballots:
    """The stored ballots of one judge.

    Attributes:
        run_id: the id of the run that stores new ballots.
    """

    db: sqlite3.Connection
    judge: Judge
    run_id: int = 0

    def find(self, item: Item) -> Ballot | str | None:
        """Return the complete ballot on an item, or the error that prevented the ballot, as text.

        The result is None if no ballot is stored, or if the stored ballot is incomplete.
        """
        row = self._row(item)
        if row is None or row["status"] == "begun":
            return None
        if row["status"] == "failed":
            return f"{row['error_type']}: {row['reason']}"
        votes = self._votes(row["id"])
        return Ballot(
            row["id"],
            tuple(map(_vote, votes)),
            {one["persona"]: one["explanation"] for one in votes if one["explanation"] is not None},
        )

    def begun(self, item: Item) -> dict[str, Vote]:
        """Return the votes by persona if the ballot is incomplete or failed; {} otherwise."""
        row = self._row(item)
        if row is None or row["status"] == "done":
            return {}
        return {vote["persona"]: _vote(vote) for vote in self._votes(row["id"])}

    def save(self, item: Item, votes: Iterable[Vote]) -> None:
        """Store the votes of a complete ballot on an item."""
        with transaction(self.db):
            ballot_id = self._replace(item, status="done")
            for vote in votes:
                self._insert(ballot_id, vote)

    def save_vote(self, item: Item, vote: Vote) -> None:
        """Store one vote of an incomplete ballot, unless the ballot was completed meanwhile."""
        with transaction(self.db):
            row = self._row(item)
            if row is None or row["status"] != "done":
                self._insert(row["id"] if row else self._replace(item, status="begun"), vote)

    def save_failure(self, item: Item, error: Exception) -> None:
        """Store the error that prevented a ballot, unless the ballot was completed meanwhile."""
        known = error if isinstance(error, HarnessError) else None
        with transaction(self.db):
            row = self._row(item)
            if row is not None and row["status"] == "done":
                return
            self._replace(
                item,
                status="failed",
                error_type=type(error).__name__,
                reason=redact(well_formed(str(error))),
                retryable=int(known is not None and known.retryable),
                raw_reply=well_formed(known.reply) if known else "",
            )

    def save_explanation(self, ballot: Ballot, persona: str, text: str) -> None:
        """Store the reason that a persona gave for its vote."""
        with transaction(self.db):
            self.db.execute(
                "UPDATE votes SET explanation = ? WHERE ballot_id = ? AND persona = ?",
                [text, ballot.id, persona],
            )

    def _row(self, item: Item) -> Row | None:
        return one(self.db, "SELECT * FROM ballots WHERE key = ?", [key_of(item, self.judge)])

    def _replace(self, item: Item, **ended: Any) -> int:
        """Insert or update the row of the ballot on an item, and return the id of the row.

        Args:
            ended: the column `status` and, after a failure, the columns that describe the error.
        """
        known = None
        if not item.probe:
            known = reads.with_moves(self.db, item.paper, item.moves, self.judge.framework)
        columns = {
            "key": key_of(item, self.judge),
            "annotation_id": known and known[0],
            "run_id": self.run_id or None,
            "source_id": item.paper.id,
            "input_sha256": item.paper.sha256,
            "moves_sha256": item.moves_sha256,
            "probe": item.probe or None,
            "model": self.judge.model.resolution.resolved,
            "attempts": int(ended["status"] != "begun"),
            "created_at": now(),
            **dict.fromkeys(("error_type", "reason", "retryable", "raw_reply")),
            **ended,
        }
        row = self._row(item)
        if row is None:
            return insert(self.db, "ballots", **columns)
        columns["attempts"] += row["attempts"]
        update(self.db, "ballots", row["id"], **columns)
        return int(row["id"])

    def _votes(self, ballot_id: int) -> list[Row]:
        rows = self.db.execute("SELECT * FROM votes WHERE ballot_id = ? ORDER BY id", [ballot_id])
        return rows.fetchall()

    def _insert(self, ballot_id: int, vote: Vote) -> None:
        self.db.execute(
            "DELETE FROM votes WHERE ballot_id = ? AND persona = ?", [ballot_id, vote.persona]
        )
        columns = {**asdict(vote), "answers": json.dumps(dict(vote.answers))}
        insert(self.db, "votes", ballot_id=ballot_id, **columns)


def _vote(row: Row) -> Vote:
    columns = {name: row[name] for name in Vote.__dataclass_fields__}
    return Vote(**{**columns, "answers": stored_json(row["answers"])})


def save_verdicts(db: sqlite3.Connection, run_id: int, verdicts: Sequence[Verdict]) -> None:
    """Replace the stored decisions of a run, and store the threshold and result of each vote."""
    with transaction(db):
        db.execute("DELETE FROM verdicts WHERE run_id = ?", [run_id])
        for verdict in verdicts:
            ballot_id = verdict.ballot.id if verdict.ballot else None
            for vote, passed, threshold in verdict.cast:
                db.execute(
                    "UPDATE votes SET threshold = ?, passed = ?"
                    " WHERE ballot_id = ? AND persona = ?",
                    [threshold, passed, ballot_id, vote.persona],
                )
            insert(
                db,
                "verdicts",
                run_id=run_id,
                ballot_id=ballot_id,
                source_id=verdict.item.paper.id,
                probe=verdict.item.probe or None,
                decision=verdict.decision,
                votes=verdict.votes if verdict.ballot else None,
                mean=verdict.mean,
                reasons=" ".join(verdict.reasons),
            )


def judge_id(model: ServedModel) -> str:
    """Return the id of a judge: the SHA-256 of the digests of the model.

    If the digests are unknown, the id is the SHA-256 of the backend and of the model's name at
    the backend.
    """
    serve = model.resolution.chosen.serve
    return sha256_of(dict(model.digests) or f"{serve.backend}/{serve.where}")


def other_judge(db: sqlite3.Connection, source: str, model: ServedModel) -> str | None:
    """Return the judge of the last run with votes on an input, unless `model` was the judge.

    Args:
        source: the name of the input.

    Returns:
        The name and the serve entry of the judge; None if `model` was the judge, or if no run has
            votes on the input.
    """
    row = one(
        db,
        "SELECT model, settings FROM runs WHERE skill = 'curate' AND input = ? AND ("
        " EXISTS (SELECT 1 FROM ballots WHERE run_id = runs.id AND status = 'done') OR EXISTS"
        " (SELECT 1 FROM verdicts WHERE run_id = runs.id AND ballot_id IS NOT NULL))"
        " ORDER BY id DESC LIMIT 1",
        [source],
    )
    settings = stored_json(row["settings"]) if row else {}
    if row is None or settings.get("judge", "") == judge_id(model):
        return None
    return f"{row['model']} ({settings['served']})"


def load_form(db: sqlite3.Connection, model: ServedModel, panel: Panel) -> VoteForm | None:
    """Return the stored vote form of a judge for a panel, or None if no usable form is stored."""
    row = one(
        db,
        "SELECT * FROM judge_forms WHERE judge = ? AND panel = ?",
        [judge_id(model), _panel_id(panel)],
    )
    if row is None or (row["prefill"] and not model.continues_prefill):
        return None  # an earlier version stored prefills that the model had ignored
    stored = stored_json(row["measured"])
    if not stored.keys() >= {"masses", "items"}:  # stored by an earlier version
        return None
    return VoteForm(row["kind"], row["prefill"], row["mass"], stored["masses"], stored["items"])


def save_form(db: sqlite3.Connection, model: ServedModel, panel: Panel, form: VoteForm) -> VoteForm:
    """Store the vote form of a judge for later runs, unless a form is stored already.

    Returns:
        `form`, or the form that another process has stored in the meantime.
    """
    with transaction(db):
        if known := load_form(db, model, panel):
            return known
        key = [judge_id(model), _panel_id(panel)]
        db.execute("DELETE FROM judge_forms WHERE judge = ? AND panel = ?", key)
        insert(
            db,
            "judge_forms",
            judge=judge_id(model),
            panel=_panel_id(panel),
            kind=form.kind,
            prefill=form.prefill,
            mass=form.mass,
            measured=json.dumps({"masses": dict(form.measured), "items": form.items}),
            created_at=now(),
        )
    return form


def load_criteria(db: sqlite3.Connection, judge: Judge, min_votes: int) -> Criteria:
    """Return the latest stored criteria of a judge for `min_votes`, or the default criteria."""
    row = one(
        db,
        "SELECT * FROM calibrations WHERE judge = ? AND panel = ? AND min_votes = ?"
        " ORDER BY id DESC LIMIT 1",
        [judge_id(judge.model), _vote_id(judge), min_votes],
    )
    if row is None:
        return Criteria(judge.panel.thresholds, min_votes)
    names = ("input", "reject_rate", "achieved", "annotations", "why", "created_at")
    calibrated = {name: row[name] for name in names}
    return Criteria(tuple(stored_json(row["thresholds"])), min_votes, calibrated)


def save_criteria(db: sqlite3.Connection, judge: Judge, criteria: Criteria) -> None:
    """Store calibrated criteria for later runs."""
    with transaction(db):
        insert(
            db,
            "calibrations",
            judge=judge_id(judge.model),
            panel=_vote_id(judge),
            thresholds=json.dumps(criteria.thresholds),
            min_votes=criteria.min_votes,
            **{**(criteria.calibrated or {}), "created_at": now()},
        )


def _panel_id(panel: Panel) -> str:
    """Return the key under which vote forms for a panel are stored."""
    return sha256_of([panel.digest, list(panel.prefills)])


def _vote_id(judge: Judge) -> str:
    """Return the key under which thresholds for a judge's panel and vote form are stored."""
    return sha256_of([judge.panel.digest, judge.form.kind, judge.form.prefill])
