"""What becomes of an annotation: its votes against the bar, and where the bar comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import insert, now, one
from skills.curate.curator import Judge
from skills.curate.inputs.items import Item
from skills.curate.panel import judges
from skills.curate.statistics import decisions
from skills.curate.store import ballots
from skills.curate.store.ballots import Ballot, Refused

if TYPE_CHECKING:
    from sqlite_utils import Database

Decision = Literal["kept", "rejected", "undecided", "failed", "pending"]
INVALID = "invalid-votes"
"""The reason of a row that the valid votes alone do not decide."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What an annotation has to reach.

    Attributes:
        thresholds: the score from which each persona passes it.
        min_votes: personas that must.
        calibrated: where the thresholds come from, {"input", "reject_rate", "achieved",
            "annotations", "why", "created_at"}; None for the panel's fixed defaults.
    """

    thresholds: tuple[float, ...]
    min_votes: int
    calibrated: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision about one row, or one probe, with all it rests on.

    Attributes:
        passes: of each persona; None where its vote is invalid. Empty without a ballot.
        thresholds: of each persona, against which it passed or failed; empty without a ballot.
        reasons: codes: of the gates, names of the personas that did not pass it, `INVALID`.
        refused: why the panel could not be asked.
        is_open: the panel is still to be asked: of a probe also where a gate has found it.
    """

    item: Item
    decision: Decision
    reasons: tuple[str, ...] = ()
    ballot: Ballot | None = None
    passes: tuple[bool | None, ...] = ()
    thresholds: tuple[float, ...] = ()
    refused: Refused | None = None
    is_open: bool = False

    @property
    def votes(self) -> int:
        """How many personas passed it."""
        return sum(passed is True for passed in self.passes)

    @property
    def scores(self) -> tuple[float | None, ...]:
        return tuple(vote.score for vote in self.ballot.votes) if self.ballot else ()

    @property
    def mean(self) -> float | None:
        """Of the valid scores."""
        valid = [score for score in self.scores if score is not None]
        return round(fmean(valid), 4) if valid else None


def decide(
    item: Item,
    ballot: Ballot | None,
    refused: Refused | None,
    bar: Bar,
    *,
    panel_votes: bool = True,
) -> Verdict:
    """Decide about an annotation.

    What a gate has found is rejected, whatever the panel says. Else it is kept with `min_votes`
    votes, rejected where even its invalid votes could not have helped, and undecided between.

    Args:
        panel_votes: False if the judge cannot answer: what passes the gates is kept then.
    """
    codes = tuple(dict.fromkeys(finding.code for finding in item.findings))
    if ballot is None:
        passed: Decision = "failed" if refused else "pending" if panel_votes else "kept"
        is_open = panel_votes and refused is None and (not codes or bool(item.probe))
        return Verdict(
            item, "rejected" if codes else passed, codes, refused=refused, is_open=is_open
        )
    [passes] = decisions.passes([[vote.score for vote in ballot.votes]], bar.thresholds)
    [is_kept] = decisions.decide([passes], bar.min_votes)
    against = tuple(v.persona for v, p in zip(ballot.votes, passes, strict=True) if p is False)
    outcome: tuple[Decision, tuple[str, ...]]
    if codes:
        outcome = "rejected", codes
    elif is_kept is None:
        outcome = "undecided", (INVALID, *against)
    else:
        outcome = ("kept", ()) if is_kept else ("rejected", against)
    decision, reasons = outcome
    return Verdict(item, decision, reasons, ballot, passes, bar.thresholds)


def keep(db: Database, run_id: int, verdicts: Sequence[Verdict], bar: Bar) -> None:
    """Note what a run decided, and how its votes counted."""
    with transaction(db):
        db.conn.execute("DELETE FROM verdicts WHERE run_id = ?", [run_id])
        for verdict in verdicts:
            if verdict.ballot:
                ballots.counted(db, verdict.ballot, bar.thresholds, verdict.passes)
            insert(
                db,
                "verdicts",
                run_id=run_id,
                ballot_id=verdict.ballot.id if verdict.ballot else None,
                source_id=verdict.item.paper.id,
                probe=verdict.item.probe or None,
                decision=verdict.decision,
                votes=verdict.votes if verdict.ballot else None,
                mean=verdict.mean,
                reasons=" ".join(verdict.reasons),
            )


def bar(db: Database, judge: Judge, min_votes: int) -> Bar:
    """The newest calibration of this judge, asked as it is, for so many votes; else the defaults.

    Another form of asking has scores of its own, which other thresholds fit.
    """
    row = one(
        db,
        "SELECT * FROM calibrations WHERE judge = ? AND panel = ? AND min_votes = ?"
        " ORDER BY id DESC LIMIT 1",
        [judges.judge_of(judge.model), judges.asked(judge), min_votes],
    )
    if row is None:
        return Bar(judge.panel.thresholds, min_votes)
    told = ("input", "reject_rate", "achieved", "annotations", "why", "created_at")
    return Bar(tuple(json.loads(row["thresholds"])), min_votes, {name: row[name] for name in told})


def keep_bar(db: Database, judge: Judge, bar: Bar) -> None:
    """Keep a calibrated bar for the runs that follow."""
    with transaction(db):
        insert(
            db,
            "calibrations",
            judge=judges.judge_of(judge.model),
            panel=judges.asked(judge),
            thresholds=json.dumps(bar.thresholds),
            min_votes=bar.min_votes,
            **{**(bar.calibrated or {}), "created_at": now()},
        )
