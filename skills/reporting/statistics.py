"""Shares with their intervals, and the bootstrap: the statistics of all reports."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MORE = "--details shows all figures"
"""The last line of a report that begins with its verdict and leaves out details."""
FEWEST = 5
"""Papers below which pages and terminals show no interval of a share and no distribution: a Wilson
interval for four papers is at least 49 percentage points wide."""
TAIL = 0.025
"""The share of resamples beyond either end of a 95% interval."""
Z = NormalDist().inv_cdf(1 - TAIL)
EQUAL = 1e-9
"""Values that differ by less than this are equal up to rounding errors."""


@dataclass(frozen=True, slots=True)
class Share:
    """`count` out of `of`."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The proportion, 0 to 1, or None if `of` is 0."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval: low and high, 0 to 1.

        Unlike the normal approximation it stays within 0 and 1, and is usable near both ends and
        for few papers. It treats the papers as a random sample.
        """
        if not self.of:
            return 0.0, 1.0
        # Not `scipy.stats.binomtest`, whose import takes a second.
        center = (self.count + Z**2 / 2) / (self.of + Z**2)
        spread = math.sqrt(self.count * (self.of - self.count) / self.of + Z**2 / 4)
        delta = Z * spread / (self.of + Z**2)
        return max(0.0, center - delta), min(1.0, center + delta)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: count, of, share, low, high."""
        low, high = self.interval
        return {
            "count": self.count,
            "of": self.of,
            "share": rounded(self.value),
            "low": round(low, 4),
            "high": round(high, 4),
        }


def bootstrap_weights(units: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return how often each unit occurs in each bootstrap sample, `resamples` by `units`.

    A statistic that is a function of sums over the units is resampled by one matrix product with
    these weights. `scipy.stats.bootstrap` would gather every unit of every sample instead, once per
    statistic, which takes a hundred times as long. Two statistics on the same weights are paired.
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


def kappas(counts: Floats) -> Floats:
    """Return Cohen's kappa (Cohen 1960) of each row: (p_o - p_e) / (1 - p_e).

    Args:
        counts: n by 4: how often both judge yes, only the first, only the second, and neither.

    Returns:
        n values; nan where both always give the same answer.
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


def divided(over: Floats, under: Floats, empty: float = float("nan")) -> Floats:
    """Return over / under, and `empty` where `under` is 0."""
    import numpy as np

    out = np.full(np.shape(over), empty)
    np.divide(over, under, out=out, where=under != 0)
    return out


def rounded(value: float | None) -> float | None:
    """Return a figure rounded as in reports: four decimals."""
    return None if value is None else round(value, 4)


def figures(found: Any) -> Any:
    """Return the JSON form of dataclasses, with rounded figures and shares as `Share.as_dict`."""
    if isinstance(found, Share):
        return found.as_dict()
    if is_dataclass(found):
        return {field.name: figures(getattr(found, field.name)) for field in fields(found)}
    if isinstance(found, Mapping):
        return {name: figures(value) for name, value in found.items()}
    if isinstance(found, tuple):
        return [figures(value) for value in found]
    return rounded(found) if isinstance(found, float) else found


Table = Sequence[Sequence[float | None]]

UNANIMOUS = "n/a, unanimous"
RESAMPLES = 2000
LEAST_UNITS = 10
"""Fewer annotations than this give no interval: resamples of so few hardly differ."""
RELIABLE, TENTATIVE = 0.8, 0.667


def alpha(table: Table, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return Krippendorff's alpha of the personas, with a bootstrap interval over annotations.

    alpha = 1 - D_o / D_e. D_o is the mean distance of two values of one annotation, D_e of any two
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). The distance is the squared
    difference, as for interval data; of votes, a pass is 1 and a fail 0, so that this is the
    nominal distance too. The package `krippendorff` gives the same values (see the tests); for
    scores that all differ it needs terabytes at 2,400 annotations.

    Args:
        table: n rows of k, passes or scores.
        seed: of the bootstrap.

    Returns:
        value: 1 is full agreement, 0 is chance, below 0 is worse than chance; None if undefined.
        low, high: the 95% interval, or None.
        units: annotations with at least two valid votes; only they count.
        why: why there is no value or no interval, or "".
        reading: the interpretation of the value, or `why` without one.
    """

    sums = _unit_sums(_floats(table))
    none = "n/a, no annotation has two valid votes"
    found = _resampled(sums, _alphas, none, "annotations", resamples, seed)
    value = found["value"]
    return {**found, "reading": found["why"] if value is None else reading(value)}


def kappa(
    pairs: Sequence[tuple[bool, bool]], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Return Cohen's kappa of two reviewers, with a bootstrap interval over papers.

    Returns:
        As `alpha`: value, low, high, units and why.
    """
    import numpy as np

    first, second = np.array(pairs, dtype=bool).reshape(-1, 2).T
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    counts = np.column_stack(cells).astype(float)
    return _resampled(counts, kappas, "n/a, no paper has two decisions", "papers", resamples, seed)


def _resampled(
    rows: Floats,
    statistic: Callable[[Floats], Floats],
    none: str,
    units: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return a statistic of the sum of the rows, with a bootstrap interval over the rows.

    Args:
        rows: (units, counts).
        statistic: returns the value of each of several sums, NaN if it is undefined.
        none: why it has no value without rows.
        units: what the rows are, in the plural.
    """
    count, low, high = len(rows), None, None
    value = float(statistic(rows.sum(axis=0, keepdims=True))[0]) if count else math.nan
    if not count:
        why = none
    elif math.isnan(value):
        why = UNANIMOUS
    elif count < LEAST_UNITS:
        why = f"no interval from fewer than {LEAST_UNITS} {units}"
    else:
        drawn = statistic(bootstrap_weights(count, resamples, seed) @ rows)
        low, high, why = percentile_interval(drawn)
    found = None if math.isnan(value) else value
    return {"value": found, "low": low, "high": high, "units": count, "why": why}


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
    return {
        "value": rounded(float(found.statistic)),
        "p": rounded(float(found.pvalue)),
        "n": len(pairs),
    }


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
    defined = spread > 1e-12 * squares
    observed = within * (count - 1) / count
    found: Floats = 1 - np.divide(observed, spread, out=np.full(len(sums), np.nan), where=defined)
    return found


def _varies(values: Floats) -> bool:
    return bool(len(values)) and float(values.max() - values.min()) > EQUAL
