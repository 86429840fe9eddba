"""Decide about annotations: compare votes with the criteria."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from skills.curate import panel_statistics
from skills.curate.curator import Vote
from skills.curate.items import Item

Decision = Literal["kept", "rejected", "undecided", "failed", "pending"]
INVALID = "invalid-votes"
"""The reason for an annotation that is undecided because of invalid votes."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """All votes on one annotation, in the order of the personas of the panel.

    Attributes:
        id: the id of the ballot's row in the corpus.
        explanations: the reasons that were requested, by persona.
    """

    id: int
    votes: tuple[Vote, ...]
    explanations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Criteria:
    """The criteria for keeping an annotation: thresholds, and number of votes.

    Attributes:
        thresholds: the minimum score of a vote that passes, for each persona.
        min_votes: minimum number of votes that must pass.
        calibrated: the origin of the thresholds, {"input", "reject_rate", "achieved",
            "annotations", "why", "created_at"}; None for the defaults of the panel.
    """

    thresholds: tuple[float, ...]
    min_votes: int
    calibrated: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about an annotation or a probe, with its reasons.

    Attributes:
        reasons: codes of the gates' findings, or else the names of the personas that did not pass
            the annotation, after `INVALID` if it is undecided.
        passes: the result of each persona's vote: True for a pass, False for a fail, None for an
            invalid vote; empty without a ballot.
        thresholds: the threshold of each persona; empty without a ballot.
        error: the class and the message of the error that prevented votes, or "".
    """

    item: Item
    decision: Decision
    reasons: tuple[str, ...] = ()
    ballot: Ballot | None = None
    passes: tuple[bool | None, ...] = ()
    thresholds: tuple[float, ...] = ()
    error: str = ""

    @property
    def votes(self) -> int:
        """The number of personas that pass the annotation."""
        return self.passes.count(True)

    @property
    def scores(self) -> tuple[float | None, ...]:
        return tuple(vote.score for vote in self.ballot.votes) if self.ballot else ()

    @property
    def mean(self) -> float | None:
        """The mean of the valid scores; None without a valid score."""
        valid = [score for score in self.scores if score is not None]
        return round(fmean(valid), 4) if valid else None

    @property
    def details(self) -> tuple[str, ...]:
        """The reasons in words why the annotation is not kept; empty if it is kept."""
        if found := self.item.findings:
            return tuple(f"{one.move}: {one.detail}" if one.move else one.detail for one in found)
        if self.error:
            return (self.error,)
        return () if self.decision == "kept" else tuple(self._shortfalls())

    def _shortfalls(self) -> Iterator[str]:
        """Yield the score and the threshold of each persona that did not pass the annotation."""
        for vote, passed, threshold in self.cast:
            if passed is None:
                yield f"{vote.persona}: no valid vote"
            elif not passed:
                # enough digits to distinguish a score from a threshold that it just misses
                yield f"{vote.persona}: {vote.score:.6g}, passes from {threshold:.6g}"

    @property
    def cast(self) -> Iterator[tuple[Vote, bool | None, float]]:
        """Each vote of the ballot with its result (see `passes`) and its threshold."""
        votes = self.ballot.votes if self.ballot else ()
        return zip(votes, self.passes, self.thresholds, strict=True)


def decide(
    item: Item, found: Ballot | str | None, criteria: Criteria, *, panel_votes: bool = True
) -> Verdict:
    """Return the verdict on an annotation.

    An annotation with a finding of a gate is rejected. Another annotation is kept if `min_votes`
    votes pass. It is undecided if it would be kept if its invalid votes passed, and rejected
    otherwise.

    Args:
        found: the ballot, or the error that prevented it; None if the annotation is not judged.
        panel_votes: False if the judge cannot answer; then every annotation that passes the gates
            is kept.
    """
    codes = tuple(dict.fromkeys(finding.code for finding in item.findings))
    if not isinstance(found, Ballot):
        without: Decision = "failed" if found else "pending" if panel_votes else "kept"
        return Verdict(item, "rejected" if codes else without, codes, error=found or "")
    passes = panel_statistics.passes([vote.score for vote in found.votes], criteria.thresholds)
    kept = panel_statistics.is_kept(passes, criteria.min_votes)
    against = tuple(v.persona for v, p in zip(found.votes, passes, strict=True) if p is False)
    decision: Decision = "rejected"
    reasons = codes or against
    if not codes and kept:
        decision, reasons = "kept", ()
    elif not codes and kept is None:
        decision, reasons = "undecided", (INVALID, *against)
    return Verdict(item, decision, reasons, found, passes, criteria.thresholds)
