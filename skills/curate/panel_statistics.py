"""Compute statistics of a panel's votes: decisions, separation of probes, calibration.

A panel of k personas judges n annotations. `scores` has n rows of k scores. The score of an invalid
vote, which is neither a pass nor a fail, is None. A vote passes if its score is at least the
threshold of the persona. An annotation is kept if at least `min_votes` votes pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import InputError
from skills.curate.outputs import Added, Auroc
from skills.reporting.intervals import Share, Z

if TYPE_CHECKING:
    from skills.reporting.statistics import Floats

Scores = Sequence[Sequence[float | None]]
Votes = Sequence[bool | None]
"""One result for each persona: True for a pass, False for a fail, None for an invalid vote."""
MARGIN = 0.15
"""A vote counts as uncertain if its score differs from the threshold by less than this margin.

The margin is for scores from 1 to 5. It is more than 0.14, the largest difference between the
scores of a judge with a full prompt cache and its scores with an empty prompt cache.
"""
INCOMPLETE = "with an invalid vote"
"""The key of `splits` for annotations with an invalid vote."""
_NOISE = 1e-9  # largest rounding error of a sum that is zero in exact arithmetic
FEW = 20
"""Minimum number of judged annotations for thresholds that generalise."""


def passes(scores: Sequence[float | None], thresholds: Sequence[float]) -> tuple[bool | None, ...]:
    """Return the result of each vote: True for a pass, False for a fail, None if invalid.

    Args:
        scores: the scores of an annotation, in the order of `thresholds`.
    """
    return tuple(
        None if score is None else score >= threshold
        for score, threshold in zip(scores, thresholds, strict=True)
    )


def is_kept(votes: Votes, min_votes: int) -> bool | None:
    """Return True if an annotation is kept, False if it is rejected, None if it is undecided.

    An annotation is undecided if it has fewer than `min_votes` passes, but at least `min_votes`
    passes and invalid votes together.
    """
    if votes.count(True) >= min_votes:
        return True
    return None if votes.count(True) + votes.count(None) >= min_votes else False


def check_min_votes(personas: int, min_votes: int) -> None:
    """Raise InputError if a panel of `personas` members cannot give `min_votes` votes."""
    if not 1 <= min_votes <= personas:
        raise InputError(
            f"a panel of {personas} cannot give {min_votes} votes",
            where="--min-votes",
            hint=f"Give a number from 1 to {personas}.",
        )


def splits(votes: Sequence[Votes]) -> dict[str, int]:
    """Return the number of annotations by passes and fails, such as {"5-0": 2, "4-1": 7, ...}.

    Annotations with an invalid vote are counted only under `INCOMPLETE`. Without annotations, the
    result is {}.
    """
    if not votes:
        return {}
    personas = len(votes[0])
    found = Counter(INCOMPLETE if None in row else row.count(True) for row in votes)
    counts = {f"{n}-{personas - n}": found[n] for n in range(personas, -1, -1)}
    return {**counts, INCOMPLETE: found[INCOMPLETE]}


def vote_against_mean(
    scores: Scores, thresholds: Sequence[float], min_votes: int
) -> dict[str, int]:
    """Return the numbers of annotations on which votes and mean score decide differently.

    By the mean score, an annotation is kept if the mean of (score - threshold) over its valid votes
    is not negative. An annotation that is undecided, or has no valid vote, is not compared.

    Returns:
        vote_only: number of annotations that are kept by the votes, but not by the mean score.
        mean_only: number of annotations that are kept by the mean score, but not by the votes.
        count: the sum of vote_only and mean_only.
        of: number of compared annotations.
    """
    import numpy as np

    gaps = np.array(scores, dtype=float).reshape(-1, len(thresholds)) - thresholds
    passed, invalid = (gaps >= 0).sum(axis=1), np.isnan(gaps).sum(axis=1)
    kept = passed >= min_votes
    compared = (kept | (passed + invalid < min_votes)) & (invalid < len(thresholds))
    by_mean = np.nansum(gaps, axis=1) >= -_NOISE
    vote_only = int((compared & kept & ~by_mean).sum())
    mean_only = int((compared & ~kept & by_mean).sum())
    counts = {"count": vote_only + mean_only, "vote_only": vote_only, "mean_only": mean_only}
    return {**counts, "of": int(compared.sum())}


def weights(votes: Sequence[Votes], min_votes: int) -> list[dict[str, int]]:
    """Return the influence of each persona on the decisions.

    Without a persona, an annotation is kept if `min_votes` of the other votes pass. If there are
    fewer than `min_votes` other votes, all of them must pass. Undecided annotations count as not
    kept.

    Returns:
        For each persona, these numbers of annotations:
        lost: kept with the persona, but not without it.
        gained: kept without the persona, but not with it.
        flips: the sum of lost and gained.
        deciding: decided differently if the vote of the persona were reversed.
        of: all annotations.
    """
    import numpy as np

    if not votes:
        return []
    passed = np.array([[vote is True for vote in row] for row in votes])
    failed = np.array([[vote is False for vote in row] for row in votes])
    total = passed.sum(axis=1)
    kept, needed = total >= min_votes, max(1, min(min_votes, passed.shape[1] - 1))
    found = []
    for own, against in zip(passed.T, failed.T, strict=True):
        without = total - own >= needed
        lost, gained = int((kept & ~without).sum()), int((without & ~kept).sum())
        deciding = int((kept != (total - own + against >= min_votes)).sum())
        counts = {"flips": lost + gained, "lost": lost, "gained": gained, "deciding": deciding}
        found.append({**counts, "of": len(votes)})
    return found


def borderline(
    scores: Scores, thresholds: Sequence[float], min_votes: int, margin: float = MARGIN
) -> list[tuple[float, int, int]]:
    """Return the annotations that a person should read, the closest decision first.

    An annotation is returned if it is undecided because of invalid votes, if a change of one vote
    would change its decision, or if its distance, as defined below, is less than `margin`.

    Let an annotation have p passes and i invalid votes. To change its decision, p - min_votes + 1
    passes of a kept annotation must become fails, or min_votes - p - i fails of a rejected
    annotation must become passes. The votes whose scores are nearest to their thresholds are
    changed. The distance of the annotation is the largest distance between one of these scores and
    its threshold.

    Returns:
        (distance, row in `scores`, number of passes) of each annotation; the distance of an
            undecided annotation is 0.
    """
    found = []
    for index, row in enumerate(scores):
        vote = passes(row, thresholds)
        kept = is_kept(vote, min_votes)
        passed, needed, distance = vote.count(True), 0, 0.0
        if kept is not None:
            needed = passed - min_votes + 1 if kept else min_votes - passed - vote.count(None)
            distances = sorted(
                abs(score - threshold)
                for score, threshold, is_pass in zip(row, thresholds, vote, strict=True)
                if score is not None and is_pass is kept
            )
            distance = distances[needed - 1]
        if needed <= 1 or distance < margin:
            found.append((distance, index, passed))
    return sorted(found)


def auroc(good: Sequence[float | None], bad: Sequence[float | None]) -> Auroc:
    """Return the probability that a score of `good` is above a score of `bad`; ties count half.

    The value is U / (n m), with the U of Mann and Whitney. Scores that are None are ignored.
    If `good` or `bad` has no score, the result has no value and no interval.

    The interval is method 5 of Newcombe (2006, "Confidence intervals for an effect size measure
    based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25): the t for which |t -
    value| = z sqrt(V(t)), with V(t) = t (1 - t) (1 + N ((1 - t) / (2 - t) + t / (1 + t))) / (n m)
    and N = (n + m) / 2 - 1. The scores are assumed to be independent. Small samples of probes often
    have the value 0 or 1; this interval then has a width, unlike DeLong's interval and a bootstrap
    interval.
    """
    above, below = ([one for one in side if one is not None] for side in (good, bad))
    n, m = len(above), len(below)
    if not n or not m:
        return Auroc(n_good=n, n_bad=m, at_chance=False)
    from scipy.stats import rankdata

    ranks = rankdata([*above, *below])
    value = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    low, high = _newcombe(value, n, m)
    is_chance = low <= 0.5 <= high
    return Auroc(value=value, low=low, high=high, n_good=n, n_bad=m, at_chance=is_chance)


def added(
    bad: Sequence[Votes | None],
    good: Sequence[Votes | None],
    personas: Sequence[str],
    min_votes: int,
) -> list[Added]:
    """Return the shares of bad and good annotations that gates, personas and panel reject.

    The result has an element for the gates, for each persona, for the panel, and for gates and
    panel together. The first and the last element have shares of all annotations; the other
    elements have shares of the annotations that pass the gates. The shares exclude a persona's
    invalid votes, and annotations that the panel leaves undecided.

    Args:
        bad: the votes on each probe, or None if a gate rejects the probe.
        good: the votes on each annotation of the input, or None if a gate rejects the annotation;
            all annotations of the input count as good.
        personas: the names of the personas, in the order of the votes.
    """
    gates = [[votes is not None for votes in side] for side in (bad, good)]
    judged = [[votes for votes in side if votes is not None] for side in (bad, good)]
    panel = [[is_kept(votes, min_votes) for votes in side] for side in judged]
    together = [
        [*votes, *[False] * side.count(False)] for votes, side in zip(panel, gates, strict=True)
    ]
    lines = [_line("gates", gates)]
    for place, name in enumerate(personas):
        alone = sum(votes[place] is False and votes.count(False) == 1 for votes in judged[0])
        lines.append(_line(name, [[votes[place] for votes in side] for side in judged], alone))
    return [*lines, _line("panel", panel), _line("together", together)]


def _line(who: str, sides: Sequence[Votes], alone: int | None = None) -> Added:
    invalid = [side.count(None) for side in sides]
    caught, cost = (
        Share(side.count(False), len(side) - none)
        for side, none in zip(sides, invalid, strict=True)
    )
    edge = None if caught.value is None or cost.value is None else caught.value - cost.value
    no_vote = sum(invalid)
    return Added(who=who, caught=caught, cost=cost, alone=alone, no_vote=no_vote, edge=edge)


def _newcombe(value: float, n: int, m: int) -> tuple[float, float]:
    from scipy.optimize import brentq

    mean = (n + m) / 2 - 1

    def beyond(t: float) -> float:
        variance = t * (1 - t) * (1 + mean * ((1 - t) / (2 - t) + t / (1 + t))) / (n * m)
        return (t - value) ** 2 - Z**2 * variance

    # At 0 and 1 the variance is 0, and `brentq` would return the value itself.
    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = brentq(beyond, 0, inside) if value > 0 else 0.0
    high = brentq(beyond, inside, 1) if value < 1 else 1.0
    return float(low), float(high)


def calibrate(
    scores: Scores, gate_rejected: int, reject_rate: float, min_votes: int = 3
) -> tuple[tuple[float, ...], float, str]:
    """Return thresholds with which the gates and the panel reject a given share of annotations.

    The thresholds are at one quantile q of the scores of each persona. Let F_j(x) be the share of
    the valid scores of persona j that are at most x. The threshold of j is its lowest score with
    F_j > q, so that a vote passes if F_j(score) > q. An annotation is kept if c > q, where c is its
    `min_votes`-th largest F_j(score). The decisions change only at q = 0 and at the c of each
    annotation, so that only these quantiles are tried. The selected quantile has the share of
    rejected annotations that is closest to the given share; of two such quantiles, the lower is
    selected. An annotation with too few valid votes is not kept at any quantile.

    Args:
        scores: the scores of the annotations that pass the gates.
        gate_rejected: number of annotations that the gates reject.
        reject_rate: the share of all len(scores) + gate_rejected annotations to reject.

    Returns:
        The threshold of each persona; the share of all annotations that are not kept, including
            undecided annotations; and notes for the user on the thresholds, or "".

    Raises:
        InputError: no annotation was judged, or a persona has no valid vote.
    """
    import numpy as np
    from scipy.stats import rankdata

    values = _valid_scores(scores)
    personas = values.shape[1]
    # F_j(score) of each score. Equal shares must be equal floating-point numbers.
    shares = rankdata(values, "max", axis=0, nan_policy="omit") / (~np.isnan(values)).sum(axis=0)
    # The c of each annotation; -1 for an annotation with too few valid votes.
    turning = np.sort(np.nan_to_num(shares, nan=-1.0), axis=1)[:, -min_votes]
    # At quantile 1, no score would pass, and a persona would have no threshold.
    quantiles = sorted({0.0, *turning[(turning > 0) & (turning < 1)].tolist()})
    rejected = {quantile: int((turning <= quantile).sum()) for quantile in quantiles}
    total = len(scores) + gate_rejected
    wanted = reject_rate * total - gate_rejected
    best = min(quantiles, key=lambda q: (round(abs(rejected[q] - wanted), 9), q))
    notes = []
    if rejected[0.0] >= wanted - 1e-9:
        notes.append(
            f"the gates and rows with too few valid votes reject "
            f"{(rejected[0.0] + gate_rejected) / total:.1%} already: each threshold is the lowest "
            "score of its persona"
        )
    # Without ties, at most one F_j(score) of each persona equals a given quantile, so that at most
    # `personas` decisions change between neighbouring quantiles.
    elif abs(rejected[best] - wanted) > max(1.0, personas / 2):
        notes.append("the scores have too many ties to come closer to the reject rate")
    if len(scores) < FEW:
        notes.append(f"set on {len(scores)} judged annotations, too few to generalise")
    thresholds = tuple(np.nanmin(np.where(shares > best, values, np.nan), axis=0).tolist())
    return thresholds, (rejected[best] + gate_rejected) / total, "; ".join(notes)


def _valid_scores(scores: Scores) -> Floats:
    """Return the scores as an array, with nan for invalid votes.

    Raises:
        InputError: no annotation was judged, or a persona has no valid vote.
    """
    import numpy as np

    if not scores:
        raise InputError(
            "there is no judged annotation to calibrate on",
            hint="Give a table with annotations that pass the gates, and a judge that can answer.",
        )
    values = np.array(scores, dtype=float)
    for place, column in enumerate(np.isnan(values).T, start=1):
        if column.all():
            raise InputError(
                f"persona {place} of {values.shape[1]} has no valid vote, so that its threshold "
                "cannot be set",
                hint="Use --model to select a judge that can answer the persona's question, or "
                "remove the persona from the panel.",
            )
    return values
