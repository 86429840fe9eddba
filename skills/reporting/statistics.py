"""Statistics over papers or annotations with their intervals: bootstrap, kappa and alpha.

A statistic is a function of sums over units, so that resampling is one matrix product. Statistics
of the same samples are paired: their difference is computed in each sample.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from skills.reporting.outputs import TAIL, Interval, Share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Values = Floats | Flags

T = TypeVar("T")
Table = Sequence[Sequence[float | None]]
"""Annotations by personas or reviewers; None is an invalid vote, which is missing, not a fail."""

EQUAL = 1e-9
"""Values that differ by less than this are equal up to rounding errors."""
RESAMPLES, SEED = 10_000, 0
LEAST_PAPERS = 5
"""Fewer papers than this give no interval: resamples of so few hardly differ."""
PANEL_RESAMPLES = 2_000
LEAST_UNITS = 10
"""Fewer annotations than this give no interval of agreement."""
UNANIMOUS = "n/a, unanimous"
RELIABLE, TENTATIVE = 0.8, 0.667


def bootstrap_weights(units: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return how often each unit occurs in each bootstrap sample, `resamples` by `units`.

    A statistic that is a function of sums over the units is resampled by one matrix product with
    these weights. `scipy.stats.bootstrap` would gather every unit of every sample instead, once per
    statistic, which takes a hundred times as long.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
    return drawn.astype(np.uint16)


def percentile_interval(drawn: Floats) -> tuple[float | None, float | None, str]:
    """Return the 95% percentile interval of resampled values: low, high and "".

    A resample in which the statistic is undefined (nan) could have any value, so each end counts
    all of them beyond it. Without an interval, low and high are None, followed by the reason.
    """
    import numpy as np

    defined = drawn[~np.isnan(drawn)]
    missing = 1 - len(defined) / len(drawn)
    if missing >= TAIL:
        return None, None, f"no interval: undefined in {missing:.1%} of the resamples"
    if np.ptp(defined) < EQUAL:
        return None, None, "no interval: the same in all resamples"
    beyond = (TAIL - missing) / (1 - missing)
    low, high = np.quantile(defined, [beyond, 1 - beyond])
    return float(low), float(high), ""


def divided(over: Floats, under: Floats, empty: float = float("nan")) -> Floats:
    """Return over / under, and `empty` where `under` is 0."""
    import numpy as np

    out = np.full(np.shape(over), empty)
    np.divide(over, under, out=out, where=under != 0)
    return out


@dataclass(frozen=True, slots=True)
class Statistic:
    """A figure over papers.

    Attributes:
        sums: n by k, the summand of each paper in each of k sums.
        value: computes the figure from k sums, for each row of them; nan where it is undefined.
        counted: n flags, the papers that the figure is about.
        is_share: True for the share of papers with some property.
    """

    sums: Floats
    value: Callable[[Floats], Floats]
    counted: Flags
    is_share: bool = False


@dataclass(frozen=True, slots=True)
class Sampled:
    """The value of a statistic, and its value in every resample.

    Attributes:
        counted: n flags, the papers that it is about.
        share: the counts, for a share of papers.
    """

    value: float
    drawn: Floats
    counted: Flags
    share: Share | None = None


class Figure(Interval):
    """A figure over papers.

    Attributes:
        papers: the number of papers that it is about.
    """

    papers: int


class Resamples:
    """`count` bootstrap samples of `papers` papers, the same for the same seed."""

    def __init__(self, papers: int, count: int = RESAMPLES, seed: int = SEED) -> None:
        self._weights = bootstrap_weights(papers, count, seed)

    def of(self, statistic: Statistic) -> Sampled:
        """Evaluate a statistic (`of_all`)."""
        return self.of_all({"": statistic})[""]

    def of_all(self, statistics: Mapping[T, Statistic]) -> dict[T, Sampled]:
        """Evaluate statistics over all papers and over each resample."""
        import numpy as np

        # In one product, since numpy converts the weights for each.
        sums = np.hstack([one.sums for one in statistics.values()])
        drawn = np.asarray(self._weights @ sums, np.float64)
        found, start = {}, 0
        for key, one in statistics.items():
            end = start + one.sums.shape[1]
            whole = one.sums.sum(axis=0, keepdims=True)
            share = Share(int(whole[0, 0]), int(whole[0, 1])) if one.is_share else None
            value = float(one.value(whole)[0])
            found[key] = Sampled(value, one.value(drawn[:, start:end]), one.counted, share)
            start = end
        return found


def estimate(sampled: Sampled, fewest: int | None = None) -> Figure:
    """Return a figure with its 95% interval: Wilson's for shares, else the bootstrap's.

    Args:
        fewest: the number of papers that the interval rests on, by default the counted papers.
    """
    papers = int(sampled.counted.sum())
    low, high, why = None, None, ""
    if math.isnan(sampled.value):
        return _figure(None, None, None, papers, "undefined" if papers else "no papers")
    if sampled.share is not None:  # all resamples of a share of 0 or 1 are equal
        low, high = sampled.share.interval
    elif (papers if fewest is None else fewest) < LEAST_PAPERS:
        why = f"no interval from fewer than {LEAST_PAPERS} papers"
    else:
        low, high, why = percentile_interval(sampled.drawn)
    return _figure(sampled.value, low, high, papers, why)


def difference(first: Sampled, other: Sampled) -> Figure:
    """Return first - other, paired by paper, over the papers that either is about.

    There is an interval only if each side has enough papers for an interval of its own.
    """
    drawn, either = first.drawn - other.drawn, first.counted | other.counted
    fewest = min(int(first.counted.sum()), int(other.counted.sum()))
    return estimate(Sampled(first.value - other.value, drawn, either), fewest)


def unpaired_difference(first: Figure, other: Figure) -> Figure:
    """Return first - other from two figures with intervals, if the papers' values are unknown.

    The interval is for independent samples (MOVER: Zou and Donner 2008, "Construction of
    confidence limits about effect measures"). On the same papers, where an easy paper is easy for
    both, it is wider than the paired one.
    """
    papers = max(first.papers, other.papers)
    if first.value is None or other.value is None:
        return _figure(None, None, None, papers, "undefined")
    value = first.value - other.value
    if first.low is None or first.high is None or other.low is None or other.high is None:
        why = "no interval: one of the two figures has none"
        return _figure(value, None, None, papers, why)
    low = value - math.hypot(first.value - first.low, other.high - other.value)
    high = value + math.hypot(first.high - first.value, other.value - other.low)
    return _figure(value, low, high, papers, "")


def _figure(
    value: float | None, low: float | None, high: float | None, papers: int, why: str
) -> Figure:
    """Return a figure, rounded so that rounding errors do not count as differences."""
    value, low, high = map(rounded, (value, low, high))
    return Figure(value=value, low=low, high=high, papers=papers, why=why)


def ratio(over: Values, under: Values, *, empty: float = float("nan")) -> Statistic:
    """Return the statistic sum(over) / sum(under).

    Args:
        over, under: n values, or n by m: then the value is the mean of the m ratios. For n flags
            it is the share of the papers in `under` that are in `over`.
        empty: the ratio if the sum of `under` is 0.
    """
    import numpy as np

    tops, bases = (part.reshape(len(part), -1).astype(np.float64) for part in (over, under))
    columns = tops.shape[1]

    def value(sums: Floats) -> Floats:
        found = divided(sums[:, :columns], sums[:, columns:], empty)
        return np.asarray(found.mean(axis=1))

    is_share = over.ndim == 1 and over.dtype == under.dtype == np.bool_
    counted = np.asarray((bases > 0).any(axis=1))
    return Statistic(np.hstack([tops, bases]), value, counted, is_share)


def kappa(first: Flags, second: Flags) -> Statistic:
    """Return Cohen's kappa of two judgements (Cohen 1960): (p_o - p_e) / (1 - p_e).

    Both may be n by m, and are then pooled. It is undefined if both always give the same answer.
    """
    import numpy as np

    n = len(first)
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    counts = [cell.reshape(n, -1).sum(axis=1) for cell in cells]
    return Statistic(np.stack(counts, axis=1).astype(np.float64), _kappas, np.ones(n, bool))


def kappa_of(first: Flags, second: Flags) -> float:
    """Return Cohen's kappa of two judgements, nan if both always give the same answer."""
    statistic = kappa(first, second)
    return float(statistic.value(statistic.sums.sum(axis=0, keepdims=True))[0])


def _kappas(counts: Floats) -> Floats:
    """Return Cohen's kappa of each row, nan where both always give the same answer.

    Args:
        counts: n by 4: how often both judge yes, only the first, only the second, and neither.
    """
    import numpy as np

    both, only_first, only_second, neither = counts.T
    total = counts.sum(axis=1)
    observed = divided(both + neither, total)
    first, second = divided(both + only_first, total), divided(both + only_second, total)
    chance = first * second + (1 - first) * (1 - second)
    # A rounding error must not count as possible disagreement.
    room = np.where(1 - chance > 1e-12, 1 - chance, 0.0)
    return divided(observed - chance, room)


class Agreement(Interval):
    """Agreement of personas or reviewers.

    Attributes:
        units: the annotations or papers that count, with at least two valid judgements.
    """

    units: int


class Alpha(Agreement):
    """Krippendorff's alpha: 1 is full agreement, 0 is chance, below 0 is worse than chance.

    Attributes:
        reading: the interpretation of the value, or `why` without one.
    """

    reading: str


def alpha(table: Table, *, resamples: int = PANEL_RESAMPLES, seed: int = SEED) -> Alpha:
    """Return Krippendorff's alpha of the personas, with a bootstrap interval over annotations.

    alpha = 1 - D_o / D_e. D_o is the mean distance of two values of one annotation, D_e of any two
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). The distance is the squared
    difference, as for interval data; of votes, a pass is 1 and a fail 0, so that this is the
    nominal distance too. The package `krippendorff` gives the same values (see the tests); for
    scores that all differ it needs terabytes at 2,400 annotations.
    """
    none = "n/a, no annotation has two valid votes"
    sums = _unit_sums(_floats(table))
    found = _agreement(sums, _alphas, none, "annotations", resamples, seed)
    shown = found.why if found.value is None else reading(found.value)
    return Alpha(**found.__dict__, reading=shown)


def paired_kappa(
    pairs: Sequence[tuple[bool, bool]], *, resamples: int = PANEL_RESAMPLES, seed: int = SEED
) -> Agreement:
    """Return Cohen's kappa of two reviewers, with a bootstrap interval over papers."""
    import numpy as np

    none = "n/a, no paper has two decisions"
    if not pairs:
        return Agreement(units=0, why=none)
    statistic = kappa(*np.array(pairs, dtype=bool).T)
    return _agreement(statistic.sums, statistic.value, none, "papers", resamples, seed)


def _agreement(
    sums: Floats,
    statistic: Callable[[Floats], Floats],
    none: str,
    units: str,
    resamples: int,
    seed: int,
) -> Agreement:
    """Return a statistic of sums over units, with a bootstrap interval over the units.

    Args:
        none: the reason for a statistic without units.
        units: the noun of the units, in the plural.
    """
    count = len(sums)
    if not count:
        return Agreement(units=0, why=none)
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    if math.isnan(value):
        return Agreement(units=count, why=UNANIMOUS)
    low, high, why = None, None, f"no interval from fewer than {LEAST_UNITS} {units}"
    if count >= LEAST_UNITS:
        drawn = statistic(bootstrap_weights(count, resamples, seed) @ sums)
        low, high, why = percentile_interval(drawn)
    return Agreement(value=value, low=low, high=high, units=count, why=why)


def reading(value: float) -> str:
    """Return the interpretation of alpha by Krippendorff (2004, Content Analysis, p. 241)."""
    if value >= RELIABLE:
        return "reliable"
    return "tentative" if value >= TENTATIVE else "unreliable"


def effective_votes(scores: Table) -> float | None:
    """Return the number of independent votes of k personas: k / (1 + (k - 1) r).

    r is the mean of the pairwise correlations (Pearson's) of their scores. The formula is Kish's
    design effect (1965, Survey Sampling, 5.4), as "Nine Judges, Two Effective Votes"
    (arXiv 2605.29800) applies it to judges.

    A persona whose scores are all equal is not counted among the k; a pair with fewer than three
    annotations in common is left out of r. A negative r counts as 0. None if no pair is left.
    """
    import numpy as np

    columns = _floats(scores).T
    varied = [column for column in columns if _varies(column[~np.isnan(column)])]
    found = []
    for pair in itertools.combinations(varied, 2):
        both = np.array(pair)[:, ~np.isnan(pair).any(axis=0)]
        if both.shape[1] >= 3 and all(map(_varies, both)):
            found.append(float(np.corrcoef(both)[0, 1]))
    if not found:
        return None
    count = len(varied)
    return count / (1 + (count - 1) * max(0.0, float(np.mean(found))))


def length_correlation(
    scores: Sequence[float | None], lengths: Sequence[float]
) -> dict[str, float | None]:
    """Return Spearman's correlation of an annotation's mean score and its length.

    Rows without a score are left out. The p-value is approximate below 500 annotations.

    Returns:
        value, p (two-sided) and n. Value and p are None for fewer than three rows, or if all scores
        or all lengths are equal.
    """
    pairs = [(s, n) for s, n in zip(scores, lengths, strict=True) if s is not None]
    columns = list(zip(*pairs, strict=True))
    if len(pairs) < 3 or any(max(column) - min(column) <= EQUAL for column in columns):
        return {"value": None, "p": None, "n": len(pairs)}
    from scipy.stats import spearmanr

    found = spearmanr(pairs)
    value, p = rounded(float(found.statistic)), rounded(float(found.pvalue))
    return {"value": value, "p": p, "n": len(pairs)}


def rounded(value: float | None) -> Any:
    """Return a figure rounded as in reports: four decimals."""
    return None if value is None else round(value, 4)


def _floats(table: Table) -> Floats:
    import numpy as np

    return np.array(table, dtype=float).reshape(len(table), -1 if len(table) else 0)


def _unit_sums(values: Floats) -> Floats:
    """Return a row of summands of alpha for each unit with at least two values.

    With m the values of a unit and s their squared distances from its mean, the row holds m,
    m s / (m - 1), the sum of squares, and the sum.
    """
    import numpy as np

    values = values[(~np.isnan(values)).sum(axis=1) >= 2]
    if not len(values):
        return np.empty((0, 4))
    # About the mean, so that large squares do not hide small differences.
    given = values[~np.isnan(values)]
    spread = values - given.mean() if _varies(given) else values * 0
    count = (~np.isnan(values)).sum(axis=1)
    total, squares = np.nansum(spread, axis=1), np.nansum(spread**2, axis=1)
    within = np.maximum(0, squares - total**2 / count) * count / (count - 1)
    return np.column_stack([count, within, squares, total])


def _alphas(sums: Floats) -> Floats:
    """Return alpha of each row of summed unit sums; nan where all values are equal.

    With n values and S their squared distances from their mean, D_e = 2 S / (n - 1) and
    D_o = (2 / n) * the sum of m s / (m - 1).
    """
    import numpy as np

    count, within, squares, total = sums.T
    spread = squares - total**2 / count
    observed = within * (count - 1) / count
    return 1 - divided(observed, np.where(spread > 1e-12 * squares, spread, 0.0))


def _varies(values: Floats) -> bool:
    return bool(len(values)) and float(values.max() - values.min()) > EQUAL
