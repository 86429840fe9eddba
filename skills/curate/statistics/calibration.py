"""Thresholds with which gates and panel together reject a chosen share of the annotations.

The share is a quota set by the user, not a finding about the annotations.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from harness.errors import InputError
from skills.curate.statistics.decisions import Scores

FEW = 20
"""Thresholds set on fewer judged annotations than this do not generalise."""


def calibrate(
    scores: Scores, gate_rejected: int, reject_rate: float, min_votes: int = 3
) -> tuple[tuple[float, ...], float, str]:
    """Set each persona's threshold at one common quantile of its scores.

    F_j(x) is the share of persona j's valid scores that are at most x, and its threshold at
    quantile q is its lowest score with F_j > q. So a vote passes if F_j(score) > q, and a row is
    kept if c > q, where c is the `min_votes`-th largest of its F_j(score). Only the quantiles 0 and
    the rows' own c make a difference: all of them are tried. Of two that are equally near to the
    rate, the lower one is taken. A row with too few valid votes is not kept at any quantile.

    Args:
        scores: n rows of k, of the annotations that passed the gates; None is an invalid vote.
        gate_rejected: number of annotations that did not pass the gates.
        reject_rate: the share of n + gate_rejected to be rejected, between 0 and 1.

    Returns:
        each persona's threshold; the share of all annotations that is not kept, including undecided
        ones; notes for the user, or "".

    Raises:
        InputError: there is nothing to calibrate on, or a persona has no valid vote.
    """
    columns = _columns(scores)
    turning = sorted(_turning_point(row, columns, min_votes) for row in scores)
    # At quantile 1 no score would be left to set.
    quantiles = sorted({0.0, *(share for share in turning if 0 < share < 1)})
    rejected = {quantile: bisect_right(turning, quantile) for quantile in quantiles}
    total = len(scores) + gate_rejected
    wanted = reject_rate * total - gate_rejected
    best = min(quantiles, key=lambda q: (round(abs(rejected[q] - wanted), 9), q))
    notes = []
    if rejected[0.0] >= wanted - 1e-9:
        notes.append(
            f"the gates and rows with too few valid votes reject "
            f"{(rejected[0.0] + gate_rejected) / total:.1%} already: the thresholds are the lowest "
            "scores"
        )
    # A step of the quantile moves each threshold by one score, and so turns at most k annotations.
    elif abs(rejected[best] - wanted) > max(1.0, len(columns) / 2):
        notes.append("the scores have too many ties to come nearer to the rate")
    if len(scores) < FEW:
        notes.append(f"set on {len(scores)} judged annotations, too few to generalise")
    thresholds = tuple(_threshold(column, best) for column in columns)
    return thresholds, (rejected[best] + gate_rejected) / total, "; ".join(notes)


def _columns(scores: Scores) -> list[list[float]]:
    """Return each persona's valid scores, ascending."""
    if not scores:
        raise InputError(
            "there is no judged annotation to calibrate on",
            hint="Give annotations that pass the gates, and a judge that can answer.",
        )
    columns = [
        sorted(score for score in column if score is not None)
        for column in zip(*scores, strict=True)
    ]
    for place, column in enumerate(columns, start=1):
        if not column:
            raise InputError(
                f"persona {place} of {len(columns)} has no valid vote to set a threshold by",
                hint="Use a judge that answers it, or remove it from the panel.",
            )
    return columns


def _turning_point(
    row: Sequence[float | None], columns: Sequence[Sequence[float]], min_votes: int
) -> float:
    """Return the quantile from which a row is rejected; -1 if it never is."""
    shares = sorted(
        (
            bisect_right(column, score) / len(column)
            for score, column in zip(row, columns, strict=True)
            if score is not None
        ),
        reverse=True,
    )
    return shares[min_votes - 1] if len(shares) >= min_votes else -1.0


def _threshold(column: Sequence[float], quantile: float) -> float:
    # The same division as in `_turning_point`, so that equal shares compare as equal.
    return next(score for score in column if bisect_right(column, score) / len(column) > quantile)
