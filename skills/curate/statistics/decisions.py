"""What the votes of a panel decide, and how firmly: counts over plain numbers.

A panel of k personas judges n annotations. `scores` are n rows of k numbers; None, or nan, is an
invalid vote, which is neither a pass nor a fail. A vote passes from its persona's threshold on, and
an annotation is kept from `min_votes` passes on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import InputError

Scores = Sequence[Sequence[float | None]]
Passes = Sequence[Sequence[bool | None]]

MARGIN = 0.15
"""On a scale of 1 to 5: a cold prompt cache moved scores by 0.14 at most."""
INCOMPLETE = "with an invalid vote"
_NOISE = 1e-9  # sums of decimals that are zero on paper


@dataclass(frozen=True, slots=True)
class Difference:
    """How often the vote and the mean of the scores decide otherwise.

    Attributes:
        vote_only: annotations that the vote keeps and the mean does not.
        mean_only: annotations that the mean keeps and the vote does not.
        of: annotations that both decide on.
    """

    vote_only: int
    mean_only: int
    of: int

    @property
    def count(self) -> int:
        return self.vote_only + self.mean_only

    def as_dict(self) -> dict[str, int]:
        return {"count": self.count, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Weight:
    """What one persona's vote does to the decisions.

    Attributes:
        lost: annotations kept with it that would not be kept without it.
        gained: annotations not kept with it that would be kept without it.
        deciding: annotations on which its vote, turned round, would turn the decision.
        of: annotations.
    """

    lost: int
    gained: int
    deciding: int
    of: int

    @property
    def flips(self) -> int:
        """Decisions that would be others without it."""
        return self.lost + self.gained

    def as_dict(self) -> dict[str, int]:
        return {"flips": self.flips, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Borderline:
    """An annotation for a human to look at.

    Attributes:
        row: its index.
        passes: its votes that pass.
        distance: how far scores would have to move, all that count, to turn the decision; 0 where
            invalid votes leave it open.
    """

    row: int
    passes: int
    distance: float

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "distance": round(self.distance, 4)}


def passes(scores: Scores, thresholds: Sequence[float]) -> list[tuple[bool | None, ...]]:
    """n rows of k: whether each vote passes; None where it is invalid.

    Raises:
        ValueError: a row does not have one score for each threshold.
    """
    return [
        tuple(
            None if score is None or math.isnan(score) else score >= threshold
            for score, threshold in zip(row, thresholds, strict=True)
        )
        for row in scores
    ]


def decide(votes: Passes, min_votes: int) -> list[bool | None]:
    """n decisions: True is kept, False is rejected, None is open.

    A row is open where its passes are too few, and would be enough if its invalid votes passed.
    Nobody may train on it, but the panel has not rejected it either.

    Raises:
        InputError: `min_votes` is not within 1 and k.
    """
    if votes:
        check_bar(len(votes[0]), min_votes)
    return [_decision(row, min_votes) for row in votes]


def check_bar(personas: int, min_votes: int) -> None:
    """Refuse a number of votes that a panel cannot give, or that it always gives.

    Raises:
        InputError: saying what can be asked for.
    """
    if not 1 <= min_votes <= personas:
        raise InputError(
            f"a panel of {personas} cannot give {min_votes} votes",
            where="--min-votes",
            hint=f"Give a number from 1 to {personas}.",
        )


def splits(votes: Passes) -> dict[str, int]:
    """Rows by passes and fails, from "5-0" to "0-5"; those with an invalid vote under `INCOMPLETE`.

    Every key is there, at 0 if need be; no rows give no keys.
    """
    if not votes:
        return {}
    personas = len(votes[0])
    found = Counter(
        INCOMPLETE if None in row else _split(sum(map(bool, row)), row) for row in votes
    )
    keys = [f"{passed}-{personas - passed}" for passed in range(personas, -1, -1)]
    return {key: found[key] for key in (*keys, INCOMPLETE)}


def vote_against_mean(scores: Scores, thresholds: Sequence[float], min_votes: int) -> Difference:
    """How often `min_votes` of k and the mean score disagree.

    The mean keeps a row whose valid votes have mean(score - threshold) >= 0. Rows that the vote
    leaves open, or that have no valid vote, are not compared.

    Raises:
        InputError: `min_votes` is not within 1 and k.
    """
    votes = passes(scores, thresholds)
    compared: Counter[tuple[bool, bool]] = Counter()
    for row, vote, kept in zip(scores, votes, decide(votes, min_votes), strict=True):
        gaps = [score - threshold for score, threshold, _ in _valid(row, thresholds, vote)]
        if kept is not None and gaps:
            compared[kept, math.fsum(gaps) >= -_NOISE] += 1
    return Difference(compared[True, False], compared[False, True], compared.total())


def weights(votes: Passes, min_votes: int) -> list[Weight]:
    """For each persona, what the decisions would be without it, and where it decides.

    Without a persona the bar is the same share of those that stay, ceil(min_votes * (k-1) / k).
    That is `min_votes` again, unless all k had to pass: so its absence can only cost a row, and it
    is `deciding` that also shows the rows that its fail holds back. A row left open counts as not
    kept.

    Raises:
        InputError: `min_votes` is not within 1 and k.
    """
    decisions = [kept is True for kept in decide(votes, min_votes)]
    if not votes:
        return []
    bar = max(1, min(min_votes, len(votes[0]) - 1))
    return [_weight(votes, decisions, persona, min_votes, bar) for persona in range(len(votes[0]))]


def borderline(
    scores: Scores, thresholds: Sequence[float], min_votes: int, margin: float = MARGIN
) -> list[Borderline]:
    """The rows for a human to look at, the closest first.

    They are the rows that one vote would turn, those that scores within `margin` of their
    thresholds could turn together, and those that invalid votes leave open.

    To turn a row with p passes and i invalid votes, p - min_votes + 1 passes have to fail if it is
    kept, and min_votes - p - i fails have to pass if it is rejected. Its distance is that of the
    farthest of these, taking those nearest their thresholds.

    Args:
        margin: in points of the scores; below it a distance is close.

    Raises:
        InputError: `min_votes` is not within 1 and k.
    """
    votes = passes(scores, thresholds)
    found = []
    for index, kept in enumerate(decide(votes, min_votes)):
        row, vote = scores[index], votes[index]
        passed, needed, distance = vote.count(True), 0, 0.0
        if kept is not None:
            needed = passed - min_votes + 1 if kept else min_votes - passed - vote.count(None)
            distances = sorted(
                abs(score - threshold)
                for score, threshold, passes_it in _valid(row, thresholds, vote)
                if passes_it is kept
            )
            distance = distances[needed - 1]
        if needed <= 1 or distance < margin:
            found.append(Borderline(index, passed, distance))
    return sorted(found, key=lambda each: (each.distance, each.row))


def _decision(row: Sequence[bool | None], min_votes: int) -> bool | None:
    passed, invalid = sum(map(bool, row)), row.count(None)
    if passed >= min_votes:
        return True
    return None if passed + invalid >= min_votes else False


def _split(passed: int, row: Sequence[bool | None]) -> str:
    return f"{passed}-{len(row) - passed}"


def _valid(
    row: Sequence[float | None], thresholds: Sequence[float], vote: Sequence[bool | None]
) -> Iterable[tuple[float, float, bool]]:
    for score, threshold, passed in zip(row, thresholds, vote, strict=True):
        if score is not None and passed is not None:
            yield score, threshold, passed


def _weight(
    votes: Passes, decisions: Sequence[bool], persona: int, min_votes: int, bar: int
) -> Weight:
    lost = gained = deciding = 0
    for row, kept in zip(votes, decisions, strict=True):
        passed, vote = sum(map(bool, row)), row[persona]
        without = passed - (vote is True) >= bar
        lost += kept and not without
        gained += without and not kept
        turned = passed + (0 if vote is None else -1 if vote else 1)
        deciding += (turned >= min_votes) is not kept
    return Weight(lost, gained, deciding, len(votes))
