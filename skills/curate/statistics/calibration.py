"""Thresholds that make gates and panel together reject a chosen share of the annotations.

The share is a quota that somebody set, not a finding about the annotations.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import InputError
from skills.curate.statistics.decisions import Scores, check_bar

FEW = 20
"""Fewer judged annotations than this say nothing about others."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds, and what they do to the annotations they were set on.

    Attributes:
        thresholds: one for each persona: scores of its own, at `quantile` of them.
        quantile: the share of a persona's valid votes that fail, 0 to 1; ties make it fewer.
        rate: the share that was asked for.
        achieved: the share of all annotations that is not kept.
        reachable: whether thresholds bring it to the rate, to half a step: a step of the quantile
            moves each threshold by one score, and so turns k annotations at most if none are tied.
        judged: annotations that came before the panel.
        gate_rejected: annotations that did not.
        panel_rejected: judged annotations that are not kept, those left open by invalid votes too.
        min_votes: the passes that keep an annotation.
        why: what is to be said about it; "" where there is nothing.
    """

    thresholds: tuple[float, ...]
    quantile: float
    rate: float
    achieved: float
    reachable: bool
    judged: int
    gate_rejected: int
    panel_rejected: int
    min_votes: int
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the thresholds unrounded, so that reading them back decides the same."""
        return {**asdict(self), "thresholds": list(self.thresholds)}


def calibrate(
    scores: Scores, gate_rejected: int, reject_rate: float, min_votes: int = 3
) -> Calibration:
    """Set each persona's threshold at one common quantile of its scores.

    F_j(x) is the share of persona j's valid scores that are at most x, and its threshold at
    quantile q is its lowest score with F_j > q. So a vote passes if F_j(score) > q, and a row is
    kept if c > q, where c is the `min_votes`-th largest of its F_j(score). The quantiles that make
    a difference are thus 0 and the rows' own c: all of them are tried, and none in between.

    Of two quantiles as near to the rate the lower one is taken, which rejects fewer. A row with too
    few valid votes is not kept at any quantile. Where gates and such rows alone make up the rate or
    more, each threshold is its persona's lowest score, and `reachable` is False.

    Args:
        scores: n rows of k, of the annotations that passed the gates; None is an invalid vote.
        gate_rejected: annotations that did not pass the gates.
        reject_rate: the share of n + gate_rejected that is to be rejected, between 0 and 1.

    Raises:
        InputError: nothing to calibrate on, a persona without a valid vote, or a rate or a number
            of votes that cannot be.
    """
    _check(scores, reject_rate, min_votes)
    columns = _columns(scores)
    counts = _Counts(len(scores), gate_rejected, len(columns))
    options = _options(sorted(_turning_point(row, columns, min_votes) for row in scores))
    wanted = reject_rate * counts.all - gate_rejected
    quantile, rejected = min(
        options.items(), key=lambda option: (round(abs(option[1] - wanted), 9), option[1])
    )
    reachable, why = _met(options, rejected, wanted, counts)
    return Calibration(
        thresholds=tuple(_threshold(column, quantile) for column in columns),
        quantile=quantile,
        rate=reject_rate,
        achieved=counts.share(rejected),
        reachable=reachable,
        judged=counts.judged,
        gate_rejected=gate_rejected,
        panel_rejected=rejected,
        min_votes=min_votes,
        why=why,
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    judged: int
    gated: int
    personas: int

    @property
    def all(self) -> int:
        return self.judged + self.gated

    def share(self, rejected: int) -> float:
        """Of all annotations, with `rejected` of the judged ones."""
        return (rejected + self.gated) / self.all


def _check(scores: Scores, reject_rate: float, min_votes: int) -> None:
    if not 0 < reject_rate < 1:
        raise InputError(
            f"{reject_rate:g} is not a share that can be rejected",
            where="--reject-rate",
            hint="Give a number between 0 and 1, such as 0.3.",
        )
    if not scores:
        raise InputError(
            "there is no judged annotation to calibrate on",
            hint="Give annotations of which some pass the gates.",
        )
    check_bar(len(scores[0]), min_votes)


def _columns(scores: Scores) -> list[list[float]]:
    """Each persona's valid scores, ascending."""
    columns = [sorted(_valid(column)) for column in zip(*scores, strict=True)]
    for place, column in enumerate(columns, start=1):
        if not column:
            raise InputError(
                f"persona {place} of {len(columns)} has no valid vote to set a threshold by",
                hint="Use a judge that answers it, or take it off the panel.",
            )
    return columns


def _valid(row: Sequence[float | None]) -> list[float]:
    return [score for score in row if score is not None and not math.isnan(score)]


def _turning_point(
    row: Sequence[float | None], columns: Sequence[Sequence[float]], min_votes: int
) -> float:
    """The quantile from which a row is no longer kept; -1 where it never is."""
    shares = sorted(
        (
            bisect_right(column, score) / len(column)
            for score, column in zip(row, columns, strict=True)
            if score is not None and not math.isnan(score)
        ),
        reverse=True,
    )
    return shares[min_votes - 1] if len(shares) >= min_votes else -1.0


def _options(turning: Sequence[float]) -> dict[float, int]:
    """How many rows each quantile rejects, ascending. At 1 there would be no score to set."""
    quantiles = sorted({0.0, *(share for share in turning if 0 < share < 1)})
    return {quantile: bisect_right(turning, quantile) for quantile in quantiles}


def _threshold(column: Sequence[float], quantile: float) -> float:
    # The same division as in `_turning_point`, so that equal shares compare as equal.
    return next(score for score in column if bisect_right(column, score) / len(column) > quantile)


def _met(
    options: dict[float, int], rejected: int, wanted: float, counts: _Counts
) -> tuple[bool, str]:
    """Whether the thresholds bring it to the rate, and what is to be said about them."""
    few = ""
    if counts.judged < FEW:
        few = f"set on {counts.judged} judged annotations, too few to hold for others"
    if options[0.0] >= wanted - 1e-9:
        reachable, missed = False, _too_many(options[0.0], wanted, counts)
    else:
        reachable = abs(rejected - wanted) <= max(1.0, counts.personas / 2)
        missed = "" if reachable else _no_nearer(options, wanted, counts)
    return reachable, "; ".join(filter(None, (missed, few)))


def _too_many(unusable: int, wanted: float, counts: _Counts) -> str:
    who = "the gates alone"
    if unusable:
        who = f"the gates and the {unusable} annotations with too few valid votes"
    return (
        f"{who} reject {counts.share(unusable):.1%}, no less than the "
        f"{(wanted + counts.gated) / counts.all:.1%} asked for: the thresholds are the lowest "
        "scores, and reject no more"
    )


def _no_nearer(options: dict[float, int], wanted: float, counts: _Counts) -> str:
    below = [count for count in options.values() if count <= wanted][-1:]
    above = [count for count in options.values() if count > wanted][:1]
    shares = " or ".join(f"{counts.share(count):.1%}" for count in (*below, *above))
    return f"the scores allow nothing nearer to the rate than {shares}: too many are the same"
