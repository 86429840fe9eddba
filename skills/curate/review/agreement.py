"""How far reviewers agree about the papers that two of them decided on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skills.curate.review.input import Candidates
from skills.curate.review.store.decision import Decision, by_reviewer
from skills.curate.review.store.log import ReviewLog
from skills.curate.statistics.agreement import alpha, kappa
from skills.nanda.framework import Framework
from skills.reporting.statistics import Share, rounded

By = Mapping[str, Decision]
"""The decision of each reviewer on a paper."""
Judgement = Callable[[Decision], bool | None]
"""What a reviewer judged; None if the decision does not show it."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """Agreement in one judgement.

    Attributes:
        what: the judgement, for people: "accepted", or the label of a move.
        judged: "accepted"; "kept", whether a move is right as it was; or "stated".
        same: papers on which all reviewers judge alike.
        kappa, alpha: as in `skills.curate.statistics.agreement`.
    """

    what: str
    judged: str
    same: Share
    kappa: Mapping[str, Any]
    alpha: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, with rounded figures."""
        return {
            "what": self.what,
            "judged": self.judged,
            "same": self.same.as_dict(),
            **{
                name: {
                    key: rounded(value) if isinstance(value, float) else value
                    for key, value in found.items()
                }
                for name, found in (("kappa", self.kappa), ("alpha", self.alpha))
            },
        }


def rated(papers: Candidates, log: ReviewLog) -> list[By]:
    """Return the decisions on each paper that two reviewers or more decided on."""
    found = (by_reviewer(log.decisions(item)) for item in papers.known(log.known()))
    return [one for one in found if len(one) > 1]


def agreement(decided: Sequence[By], framework: Framework) -> list[Agreed]:
    """Return the agreement about whole annotations, then about each move.

    Of a rejected annotation it is not known which moves are right, so that it counts for the first
    only.
    """
    found = [_agreed(decided, "Annotation", "accepted", lambda one: one.what == "accept")]
    for move in framework.moves:
        found.append(_agreed(decided, move.label, "kept", _kept(move.name)))
        stated = _stated(move.name, framework.not_stated)
        found.append(_agreed(decided, move.label, "stated", stated))
    return found


def _kept(move: str) -> Judgement:
    return lambda one: None if one.what == "reject" else move not in one.changed


def _stated(move: str, not_stated: str) -> Judgement:
    return lambda one: None if one.what == "reject" else one.moves[move] != not_stated


def _agreed(decided: Sequence[By], what: str, judged: str, judgement: Judgement) -> Agreed:
    """Return the agreement in one judgement.

    Kappa is that of the first two reviewers of each paper in the order of their names: of two
    reviewers it is Cohen's. Alpha counts all of them.
    """
    names = sorted({name for one in decided for name in one})
    rows = [{name: judgement(one[name]) for name in sorted(one)} for one in decided]
    valid = [[value for value in row.values() if value is not None] for row in rows]
    valid = [values for values in valid if len(values) > 1]
    table = [[_number(row.get(name)) for name in names] for row in rows]
    return Agreed(
        what,
        judged,
        Share(sum(len(set(values)) == 1 for values in valid), len(valid)),
        kappa([(values[0], values[1]) for values in valid]),
        alpha(table),
    )


def _number(value: bool | None) -> float | None:
    return None if value is None else float(value)
