"""Decisions of reviewers, and what the decisions on one annotation amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.errors import HarnessError
from skills.corpus.table import paper_key
from skills.curate.items import Item
from skills.nanda.paper import Paper

What = Literal["accept", "reject", "edit", "undo"]
State = Literal["open", "waiting", "disputed", "settled"]
Spans = list[list[int]]


class Taken(HarnessError):
    """Another reviewer has the paper, or it is decided."""

    exit_code = 2


class Decision(BaseModel):
    """One line of the journal.

    Attributes:
        what: "edit" changes moves of a paper, or where they come from, before it is decided on;
            "undo" reverts the reviewer's last decision on the paper.
        at: the time, UTC, to the second.
        abstract_sha256, shown_sha256: of the abstract and the moves under review.
        moves: the moves after the decision.
        changed: the names of the moves that differ from those under review.
        reason: why the paper was rejected, if a reason was given.
        reviewer: the name of who decided; "" in a review by one person.
        reviewers: number of reviewers that the paper is given to.
        anchors: the passages of the abstract that the reviewer selected, by move, as start and end.
        resolves: True if it settles the disagreement of two reviewers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: What
    at: str
    paper: Paper
    abstract_sha256: str
    shown_sha256: str
    moves: dict[str, str]
    changed: tuple[str, ...] = ()
    reason: str = ""
    reviewer: str = ""
    reviewers: int = 1
    anchors: dict[str, Spans] = {}
    resolves: bool = False

    @property
    def key(self) -> str:
        return paper_key(self.paper.id)

    @property
    def digests(self) -> tuple[str, str]:
        """What is decided on, as `Item.digests`."""
        return self.abstract_sha256, self.shown_sha256

    def is_about(self, item: Item) -> bool:
        """Return True if the decision was about this very annotation."""
        return self.digests == item.digests

    def is_like(self, other: Decision) -> bool:
        """Return True if both reject, or accept the same moves."""
        return self.what == other.what and (self.what == "reject" or self.moves == other.moves)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the decisions on one annotation amount to.

    Attributes:
        state: "waiting" for a second reviewer; "disputed" if two of them disagree.
        decision: the one that counts, if it is settled.
    """

    state: State
    decision: Decision | None = None


def by_reviewer(decisions: Sequence[Decision]) -> dict[str, Decision]:
    """Return the last decision of each reviewer, without those that settle a disagreement."""
    return {one.reviewer: one for one in decisions if not one.resolves}


def outcome(decisions: Sequence[Decision]) -> Outcome:
    """Return what the decisions on one annotation amount to.

    One that settles a disagreement comes first. If the paper is given to one reviewer, the last
    decision counts. If it is given to two, both have to be alike.
    """
    if not decisions:
        return Outcome("open")
    if settling := [one for one in decisions if one.resolves]:
        return Outcome("settled", settling[-1])
    needed = max(one.reviewers for one in decisions)
    given = list(by_reviewer(decisions).values())
    if needed == 1:
        return Outcome("settled", decisions[-1])
    if len(given) < needed:
        return Outcome("waiting")
    if all(given[0].is_like(one) for one in given[1:]):
        return Outcome("settled", given[-1])
    return Outcome("disputed")


def decision_on(item: Item, what: What, at: str, moves: dict[str, str], **more: Any) -> Decision:
    """Return a decision on an annotation; `more` are attributes of `Decision`."""
    return Decision(
        what=what,
        at=at,
        paper=item.paper,
        abstract_sha256=item.paper.sha256,
        shown_sha256=item.moves_sha256,
        moves=moves,
        changed=tuple(name for name, text in item.moves.items() if moves[name] != text),
        **more,
    )
