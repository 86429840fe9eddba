"""Compute statistics over papers or annotations with intervals: bootstrap, kappa, alpha.

A statistic is a function of sums over units, so that all resamples are computed by one matrix
product. Statistics of the same resamples are paired: their difference is computed in each resample.
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
"""A row of votes for each annotation; None is an invalid vote, which counts as missing."""

EQUAL = 1e-9
"""Difference below which two values are equal except for rounding errors."""
RESAMPLES, SEED = 10_000, 0
LEAST_PAPERS = 5
"""Minimum number of papers for an interval: resamples of fewer papers hardly differ."""
PANEL_RESAMPLES = 2_000
LEAST_UNITS = 10
"""Minimum number of annotations for an interval of agreement."""
UNANIMOUS = "n/a, unanimous"
RELIABLE, TENTATIVE = 0.8, 0.667


def bootstrap_weights(units: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return the number of occurrences of each unit in each resample, `resamples` by `units`.

    A statistic that is a function of sums over the units is resampled by one matrix product with
    these weights. `scipy.stats.bootstrap` would instead gather every unit of every sample for each
    statistic, which takes a hundred times as long.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
    return drawn.astype(np.uint16)


def percentile_interval(drawn: Floats) -> tuple[float | None, float | None, str]:
    """Return the 95% percentile interval of resampled values: low, high and "".

    A resample in which the statistic is undefined (nan) could have any value, so all of these
    resamples are counted below the low end and above the high end. Without an interval, low and
    high are None, followed by the reason.
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
    """Return over / under, or `empty` where `under` is 0."""
    import numpy as np

    out = np.full(np.shape(over), empty)
    np.divide(over, under, out=out, where=under != 0)
    return out


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic over papers, which can be resampled.

    Attributes:
        sums: n by k, the summands of each paper for k sums.
        value: computes the figure of each row of k sums; nan where it is undefined.
        counted: n flags, True for the papers that the figure is about.
        is_share: True if the figure is the share of papers with a property.
    """

    sums: Floats
    value: Callable[[Floats], Floats]
    counted: Flags
    is_share: bool = False


@dataclass(frozen=True, slots=True)
class Sampled:
    """The value of a statistic, and its value in every resample.

    Attributes:
        counted: n flags, True for the papers that the statistic is about.
        share: the counts of a share of papers, or None.
    """

    value: float
    drawn: Floats
    counted: Flags
    share: Share | None = None


class Figure(Interval):
    """A value computed over papers, with its confidence interval.

    Attributes:
        papers: the number of papers from which the value is computed.
    """

    papers: int


class Resamples:
    """`count` bootstrap samples of `papers` papers, which depend only on the seed."""

    def __init__(self, papers: int, count: int = RESAMPLES, seed: int = SEED) -> None:
        self._weights = bootstrap_weights(papers, count, seed)

    def of(self, statistic: Statistic) -> Sampled:
        """Compute a statistic over all papers and over each resample."""
        return self.of_all({"": statistic})[""]

    def of_all(self, statistics: Mapping[T, Statistic]) -> dict[T, Sampled]:
        """Compute statistics over all papers and over each resample."""
        import numpy as np

        # A single product is computed, since numpy would convert the weights for each product.
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
    """Return a figure with a 95% interval: a Wilson interval for a share, otherwise a bootstrap.

    Args:
        fewest: the number of papers that the interval is based on; by default, the counted papers.
    """
    papers = int(sampled.counted.sum())
    low, high, why = None, None, ""
    if math.isnan(sampled.value):
        return _figure(None, None, None, papers, "undefined" if papers else "no papers")
    if sampled.share is not None:  # because all resamples of a share of 0 or 1 are equal
        low, high = sampled.share.interval
    elif (papers if fewest is None else fewest) < LEAST_PAPERS:
        why = f"no interval from fewer than {LEAST_PAPERS} papers"
    else:
        low, high, why = percentile_interval(sampled.drawn)
    return _figure(sampled.value, low, high, papers, why)


def difference(first: Sampled, other: Sampled) -> Figure:
    """Return first - other, paired by paper, over the papers that either figure is about.

    The difference has an interval only if each figure has enough papers for an interval.
    """
    drawn, either = first.drawn - other.drawn, first.counted | other.counted
    fewest = min(int(first.counted.sum()), int(other.counted.sum()))
    return estimate(Sampled(first.value - other.value, drawn, either), fewest)


def unpaired_difference(first: Figure, other: Figure) -> Figure:
    """Return first - other from two figures with intervals, without values of papers.

    The interval is for independent samples (MOVER: Zou and Donner 2008, "Construction of confidence
    limits about effect measures"). For figures of the same papers, where a paper may be easy for
    both, it is wider than the paired interval.
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
        over, under: n values, or n by m values, for which the statistic is the mean of the m
            ratios. For n flags it is the share of the papers in `under` that are also in `over`.
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

    Both may be n by m values, which are then pooled. Kappa is undefined if both judgements always
    are the same answer.
    """
    import numpy as np

    n = len(first)
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    counts = [cell.reshape(n, -1).sum(axis=1) for cell in cells]
    return Statistic(np.stack(counts, axis=1).astype(np.float64), _kappas, np.ones(n, bool))


def kappa_of(first: Flags, second: Flags) -> float:
    """Return Cohen's kappa of two judgements, or nan if both always are the same answer."""
    statistic = kappa(first, second)
    return float(statistic.value(statistic.sums.sum(axis=0, keepdims=True))[0])


def _kappas(counts: Floats) -> Floats:
    """Return Cohen's kappa of each row, or nan where both always are the same answer.

    Args:
        counts: n by 4 numbers of cases: both judge yes, only the first, only the second, neither.
    """
    import numpy as np

    both, only_first, only_second, neither = counts.T
    total = counts.sum(axis=1)
    observed = divided(both + neither, total)
    first, second = divided(both + only_first, total), divided(both + only_second, total)
    chance = first * second + (1 - first) * (1 - second)
    # Rounding errors must not count as possible disagreement.
    room = np.where(1 - chance > 1e-12, 1 - chance, 0.0)
    return divided(observed - chance, room)


class Agreement(Interval):
    """Agreement of personas or reviewers.

    Attributes:
        units: number of annotations or papers that count, since they have at least two valid
            judgements.
    """

    units: int


class Alpha(Agreement):
    """Krippendorff's alpha: 1 is full agreement, 0 is chance, below 0 is worse than chance.

    Attributes:
        reading: the interpretation of the value, or the reason `why` there is no value.
    """

    reading: str


def alpha(table: Table, *, resamples: int = PANEL_RESAMPLES, seed: int = SEED) -> Alpha:
    """Return Krippendorff's alpha of the personas, with a bootstrap interval over annotations.

    alpha = 1 - D_o / D_e. D_o is the mean distance between two values of the same annotation, D_e
    between any two values (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). The
    distance is the squared difference, as for interval data; for votes, with 1 for a pass and 0 for
    a fail, it equals the nominal distance. The package `krippendorff` gives the same values (see
    the tests); but if all scores of 2,400 annotations differ, it needs terabytes.
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
        none: the reason that is returned if there are no units.
        units: the noun for the units, in the plural.
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

    r is the mean of Pearson's correlation of the scores of each pair of personas. The formula is
    Kish's design effect (1965, Survey Sampling, 5.4), which "Nine Judges, Two Effective Votes"
    (arXiv 2605.29800) applies to judges.

    A persona whose scores are all equal is not counted in k; a pair with fewer than three common
    annotations is left out of r. A negative r counts as 0. The result is None if no pair is left.
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
    """Return Spearman's correlation of the mean scores and the lengths of annotations.

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
    """Return a figure rounded to four decimals, as in reports."""
    return None if value is None else round(value, 4)


def _floats(table: Table) -> Floats:
    import numpy as np

    return np.array(table, dtype=float).reshape(len(table), -1 if len(table) else 0)


def _unit_sums(values: Floats) -> Floats:
    """Return the summands of alpha, a row for each unit with at least two values.

    If a unit has m values, with the sum s of squared distances from their mean, its row is: m, m s
    / (m - 1), the sum of squares, and the sum.
    """
    import numpy as np

    values = values[(~np.isnan(values)).sum(axis=1) >= 2]
    if not len(values):
        return np.empty((0, 4))
    # Centered on the mean, so that large squares do not hide small differences.
    given = values[~np.isnan(values)]
    spread = values - given.mean() if _varies(given) else values * 0
    count = (~np.isnan(values)).sum(axis=1)
    total, squares = np.nansum(spread, axis=1), np.nansum(spread**2, axis=1)
    within = np.maximum(0, squares - total**2 / count) * count / (count - 1)
    return np.column_stack([count, within, squares, total])


def _alphas(sums: Floats) -> Floats:
    """Return alpha for each row of sums over units; nan where all values are equal.

    For n values with the sum S of squared distances from their mean, D_e = 2 S / (n - 1) and D_o =
    (2 / n) * the sum of m s / (m - 1).
    """
    import numpy as np

    count, within, squares, total = sums.T
    spread = squares - total**2 / count
    observed = within * (count - 1) / count
    return 1 - divided(observed, np.where(spread > 1e-12 * squares, spread, 0.0))


def _varies(values: Floats) -> bool:
    return bool(len(values)) and float(values.max() - values.min()) > EQUAL
