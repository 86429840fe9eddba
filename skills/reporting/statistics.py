"""Compute statistics over papers or annotations, such as kappa and alpha, with intervals.

A statistic with a bootstrap interval is a function of sums over units (papers or annotations). One
matrix product therefore computes the sums of all resamples. `difference` is paired: it computes the
difference of two statistics in each resample.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from skills.reporting.intervals import EQUAL, Interval, Share, percentile_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Values = Floats | Flags

T = TypeVar("T")
Table = Sequence[Sequence[float | None]]
"""One row of votes or scores for each annotation; missing and invalid values are None."""

RESAMPLES, SEED = 10_000, 0
LEAST_PAPERS = 5
"""Minimum number of papers for a bootstrap interval; fewer papers have few distinct resamples."""
PANEL_RESAMPLES = 2_000
LEAST_UNITS = 10
"""Minimum number of annotations or papers for an interval of an agreement."""
UNANIMOUS = "n/a, unanimous"
RELIABLE, TENTATIVE = 0.8, 0.667


def bootstrap_weights(units: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Draw bootstrap resamples, and return the count of each unit in each resample.

    The product of the result with the summands of a statistic has the sums of the statistic in each
    resample. The product is a hundred times as fast as `scipy.stats.bootstrap`, which copies the
    units of each resample.

    Returns:
        An array of shape (resamples, units).
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
    return drawn.astype(np.uint16)


def divided(over: Floats, under: Floats, empty: float = float("nan")) -> Floats:
    """Return over / under elementwise, with `empty` where `under` is 0."""
    import numpy as np

    out = np.full(np.shape(over), empty)
    np.divide(over, under, out=out, where=under != 0)
    return out


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic over papers, in a form that can be resampled.

    Attributes:
        sums: the summands of each paper; shape (papers, sums).
        value: computes a value from each row of an array of sums, which has the shape (rows, sums).
            An undefined value is nan.
        counted: for each paper, True if the statistic depends on the paper.
        is_share: True if the value is the share of papers with a property.
    """

    sums: Floats
    value: Callable[[Floats], Floats]
    counted: Flags
    is_share: bool = False


@dataclass(frozen=True, slots=True)
class Sampled:
    """The value of a statistic over all papers, and its value in each resample.

    Attributes:
        drawn: the value in each resample.
        counted: for each paper, True if the statistic depends on the paper.
        share: the count and the total if the statistic is a share of papers, or None.
    """

    value: float
    drawn: Floats
    counted: Flags
    share: Share | None = None


class Figure(Interval):
    """A value computed over papers, with its 95% interval.

    Attributes:
        papers: number of papers on which the value depends.
    """

    papers: int


class Resamples:
    """Bootstrap resamples of papers; equal arguments give equal resamples.

    Args:
        papers: number of papers.
        count: number of resamples.
    """

    def __init__(self, papers: int, count: int = RESAMPLES, seed: int = SEED) -> None:
        self._weights = bootstrap_weights(papers, count, seed)

    def of_all(self, statistics: Mapping[T, Statistic]) -> dict[T, Sampled]:
        """Return the values of several statistics over all papers and in each resample, by key."""
        import numpy as np

        # All statistics share one product, since numpy converts the weights to floats each time.
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
    """Return a value with its 95% interval.

    The interval is a Wilson interval for a share, and a bootstrap interval for other statistics.

    Args:
        fewest: the number of papers that is compared with `LEAST_PAPERS`; None for the number of
            counted papers.
    """
    papers = int(sampled.counted.sum())
    low, high, why = None, None, ""
    if math.isnan(sampled.value):
        return _figure(None, None, None, papers, "undefined" if papers else "no papers")
    if sampled.share is not None:  # the bootstrap interval of a share of 0 or 1 has no width
        low, high = sampled.share.interval
    elif (papers if fewest is None else fewest) < LEAST_PAPERS:
        why = f"no interval from fewer than {LEAST_PAPERS} papers"
    else:
        low, high, why = percentile_interval(sampled.drawn)
    return _figure(sampled.value, low, high, papers, why)


def difference(first: Sampled, other: Sampled) -> Figure:
    """Return the paired difference first - other.

    There is an interval only if both statistics depend on enough papers for an interval.
    """
    drawn, either = first.drawn - other.drawn, first.counted | other.counted
    fewest = min(int(first.counted.sum()), int(other.counted.sum()))
    return estimate(Sampled(first.value - other.value, drawn, either), fewest)


def unpaired_difference(first: Figure, other: Figure) -> Figure:
    """Return the difference first - other of two values without their resamples.

    The interval is for independent samples (MOVER: Zou and Donner 2008, "Construction of confidence
    limits about effect measures"). If both values are over the same papers, this interval
    is usually wider than the paired interval.
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
    """Return a `Figure` with rounded numbers, so that equal values have a difference of 0."""
    value, low, high = map(rounded, (value, low, high))
    return Figure(value=value, low=low, high=high, papers=papers, why=why)


def ratio(over: Values, under: Values, *, empty: float = float("nan")) -> Statistic:
    """Return the statistic sum(over) / sum(under).

    For arrays of shape (papers, m), the statistic is the mean of the m ratios. For boolean arrays
    of shape (papers,), it is a share of papers; each paper that is True in `over` must also be True
    in `under`.

    Args:
        over, under: one value for each paper, or arrays of shape (papers, m).
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
    """Return Cohen's kappa of two judges as a statistic: (p_o - p_e) / (1 - p_e).

    p_o is the share of cases with equal answers, and p_e the share that is expected by chance
    (Cohen 1960). Kappa is undefined if both judges always answer yes, or always no.

    Args:
        first: the answers of the first judge, one for each paper, or of shape (papers, m). Several
            answers for a paper are pooled.
        second: the answers of the second judge, in the same shape.
    """
    import numpy as np

    n = len(first)
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    counts = [cell.reshape(n, -1).sum(axis=1) for cell in cells]
    return Statistic(np.stack(counts, axis=1).astype(np.float64), _kappas, np.ones(n, bool))


def kappa_of(first: Flags, second: Flags) -> float:
    """Return Cohen's kappa of two judges, or nan if it is undefined."""
    statistic = kappa(first, second)
    return float(statistic.value(statistic.sums.sum(axis=0, keepdims=True))[0])


def _kappas(counts: Floats) -> Floats:
    """Return Cohen's kappa for each row of counts, or nan where it is undefined.

    Args:
        counts: the numbers of cases in which both judges answer yes, only the first, only the
            second, and neither; shape (rows, 4).
    """
    import numpy as np

    both, only_first, only_second, neither = counts.T
    total = counts.sum(axis=1)
    observed = divided(both + neither, total)
    first, second = divided(both + only_first, total), divided(both + only_second, total)
    chance = first * second + (1 - first) * (1 - second)
    # Below 1e-12 the expected disagreement is a rounding error, and kappa is undefined.
    room = np.where(1 - chance > 1e-12, 1 - chance, 0.0)
    return divided(observed - chance, room)


class Agreement(Interval):
    """The agreement of personas or reviewers.

    Attributes:
        units: number of annotations or papers with at least two valid judgements.
    """

    units: int


class Alpha(Agreement):
    """Krippendorff's alpha: 1 for full agreement, 0 for chance, negative for less than chance.

    Attributes:
        reading: the interpretation of the value; without a value, the text of `why`.
    """

    reading: str


def alpha(table: Table) -> Alpha:
    """Return Krippendorff's alpha of personas or reviewers, with a bootstrap interval.

    alpha = 1 - D_o / D_e (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). D_o is
    the mean distance of two values of the same annotation, and D_e the mean distance of any two
    values. The distance is the squared difference, as for interval data; for votes of 0 and 1 it
    equals the nominal distance. The package `krippendorff` computes the same values (see the
    tests), but needs terabytes if all scores of 2,400 annotations differ.

    Args:
        table: the values of the personas or reviewers for each annotation.
    """
    none = "n/a, no annotation has two valid votes"
    sums = _unit_sums(_floats(table))
    found = _agreement(sums, _alphas, none, "annotations")
    shown = found.why if found.value is None else reading(found.value)
    return Alpha(**found.__dict__, reading=shown)


def paired_kappa(pairs: Sequence[tuple[bool, bool]]) -> Agreement:
    """Return Cohen's kappa of two reviewers, with a bootstrap interval over papers.

    Args:
        pairs: the answers of both reviewers for each paper.
    """
    import numpy as np

    none = "n/a, no paper has two decisions"
    if not pairs:
        return Agreement(units=0, why=none)
    statistic = kappa(*np.array(pairs, dtype=bool).T)
    return _agreement(statistic.sums, statistic.value, none, "papers")


def _agreement(
    sums: Floats, statistic: Callable[[Floats], Floats], none: str, units: str
) -> Agreement:
    """Return a statistic with a bootstrap interval over its units.

    Args:
        sums: the summands of each unit; shape (units, sums).
        statistic: computes the statistic for each row of an array of sums.
        none: the value of `why` if there are no units.
        units: the plural noun for the units, for messages.
    """
    count = len(sums)
    if not count:
        return Agreement(units=0, why=none)
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    if math.isnan(value):
        return Agreement(units=count, why=UNANIMOUS)
    low, high, why = None, None, f"no interval from fewer than {LEAST_UNITS} {units}"
    if count >= LEAST_UNITS:
        drawn = statistic(bootstrap_weights(count, PANEL_RESAMPLES, SEED) @ sums)
        low, high, why = percentile_interval(drawn)
    return Agreement(value=value, low=low, high=high, units=count, why=why)


def reading(value: float) -> str:
    """Return the interpretation of alpha (Krippendorff 2004, Content Analysis, p. 241)."""
    if value >= RELIABLE:
        return "reliable"
    return "tentative" if value >= TENTATIVE else "unreliable"


def effective_votes(scores: Table) -> float | None:
    """Return the effective number of independent personas: k / (1 + (k - 1) r).

    k is the number of personas and r the mean of Pearson's correlation over all pairs of personas.
    The divisor is Kish's design effect (1965, Survey Sampling, 5.4), which "Nine Judges, Two
    Effective Votes" (arXiv 2605.29800) applies to judges.

    A persona is omitted if all its scores are equal. A pair is omitted if it has fewer than three
    common annotations, or if all scores of one persona for these annotations are equal. A negative
    r counts as 0. The result is None if no pair is left.
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
    """Return Spearman's correlation of the scores and the lengths of annotations.

    Annotations without a score are omitted. For fewer than 500 scores, the p-value is approximate.

    Returns:
        The keys value, p (two-sided) and n. Value and p are None for fewer than three annotations,
        or if all scores or all lengths are equal.
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
    """Return a number rounded to four decimals, as in reports; None for None."""
    return None if value is None else round(value, 4)


def _floats(table: Table) -> Floats:
    import numpy as np

    return np.array(table, dtype=float).reshape(len(table), -1 if len(table) else 0)


def _unit_sums(values: Floats) -> Floats:
    """Return the four summands of alpha for each unit with at least two values.

    First, the values are centred: the mean of all values is subtracted from each value. For a unit
    with m values, the summands are m, m s / (m - 1), the sum of the squared centred values, and the
    sum of the centred values. Here s is the sum of the squared distances of the unit's values from
    their mean.
    """
    import numpy as np

    values = values[(~np.isnan(values)).sum(axis=1) >= 2]
    if not len(values):
        return np.empty((0, 4))
    # Values are centred, so that large squares do not hide small differences.
    given = values[~np.isnan(values)]
    spread = values - given.mean() if _varies(given) else values * 0
    count = (~np.isnan(values)).sum(axis=1)
    total, squares = np.nansum(spread, axis=1), np.nansum(spread**2, axis=1)
    within = np.maximum(0, squares - total**2 / count) * count / (count - 1)
    return np.column_stack([count, within, squares, total])


def _alphas(sums: Floats) -> Floats:
    """Return alpha for each row of sums over units, or nan where all values are equal.

    D_o = (2 / n) * the sum of m s / (m - 1) over the units (see `_unit_sums`), and
    D_e = 2 S / (n - 1). Here n is the number of all values, and S the sum of their squared
    distances from their mean.
    """
    import numpy as np

    count, within, squares, total = sums.T
    spread = squares - total**2 / count
    observed = within * (count - 1) / count
    return 1 - divided(observed, np.where(spread > 1e-12 * squares, spread, 0.0))


def _varies(values: Floats) -> bool:
    return bool(len(values)) and float(values.max() - values.min()) > EQUAL
