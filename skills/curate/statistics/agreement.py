"""How far the personas of a panel say the same, and how many votes they are worth.

A table is n rows, one for each annotation, of k values, one from each persona; None, or nan, is an
invalid vote, which is missing, not a fail.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from skills.reporting.statistics import EQUAL, bootstrap_weights, percentile_interval, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Table = Sequence[Sequence[float | None]]
Level = Literal["nominal", "interval"]

UNANIMOUS = "n/a, unanimous"
RESAMPLES = 2000
LEAST_UNITS = 10
"""Fewer annotations than this give no interval: resamples of so few hardly differ."""
RELIABLE, TENTATIVE = 0.8, 0.667


@dataclass(frozen=True, slots=True)
class Agreement:
    """Krippendorff's alpha.

    Attributes:
        value: 1 is full agreement, 0 is chance, below 0 is worse than chance; None if undefined.
        low, high: the 95% interval; None where there is none.
        units: annotations with two valid votes or more: the others say nothing about agreement.
        why: why there is no value, or no interval; "" where there are both.
    """

    value: float | None
    low: float | None
    high: float | None
    units: int
    why: str = ""

    @property
    def reading(self) -> str:
        """What Krippendorff (2004, Content Analysis, p. 241) takes such a value for."""
        if self.value is None:
            return self.why
        if self.value >= RELIABLE:
            return "reliable"
        return "tentative" if self.value >= TENTATIVE else "unreliable"

    def as_dict(self) -> dict[str, Any]:
        return {
            "value": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "units": self.units,
            "reading": self.reading,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation.

    Attributes:
        value: -1 to 1; None where it is undefined.
        p: of a value as far from 0 where there is no correlation, two-sided.
        n: annotations it is of.
    """

    value: float | None
    p: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        return {"value": rounded(self.value), "p": rounded(self.p), "n": self.n}


def alpha(table: Table, level: Level, *, resamples: int = RESAMPLES, seed: int = 0) -> Agreement:
    """Krippendorff's alpha of the personas, with an interval over the annotations.

    alpha = 1 - D_o / D_e. D_o is the mean distance of two values of one annotation, D_e of any two
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). The distance is 0 or 1 for
    "nominal", the squared difference for "interval".

    The interval is the percentile bootstrap's, over the annotations. Unanimous resamples have no
    alpha.

    Args:
        table: n rows of k; passes for "nominal", scores for "interval".
        seed: the same one gives the same interval.
    """
    import numpy as np

    sums = _unit_sums(_floats(table), level)
    units = len(sums)
    if not units:
        return Agreement(None, None, None, 0, "n/a, no annotation has two valid votes")
    value = float(_alphas(sums.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return Agreement(None, None, None, units, UNANIMOUS)
    if level == "nominal":
        value = _by_the_package(table)
    if units < LEAST_UNITS:
        why = f"no interval from fewer than {LEAST_UNITS} annotations"
        return Agreement(value, None, None, units, why)
    low, high, why = percentile_interval(_alphas(bootstrap_weights(units, resamples, seed) @ sums))
    return Agreement(value, low, high, units, why)


def effective_votes(scores: Table) -> float | None:
    """How many independent votes the k personas are worth: k / (1 + (k - 1) r).

    r is the mean of the pairwise correlations (Pearson's) of their scores. The formula is Kish's
    design effect (1965, Survey Sampling, 5.4), as "Nine Judges, Two Effective Votes"
    (arXiv 2605.29800) uses it on judges.

    A persona whose scores are all the same has no correlation and is not counted among the k; a
    pair with fewer than three annotations in common is left out of r. A negative r counts as 0,
    since k votes are never worth more than k. None where no pair is left.
    """
    import numpy as np

    columns = _floats(scores).T
    varied = [column for column in columns if _varies(column[~np.isnan(column)])]
    found = [
        r
        for one, other in itertools.combinations(varied, 2)
        if (r := _correlation(one, other)) is not None
    ]
    if not found:
        return None
    count = len(varied)
    return count / (1 + (count - 1) * max(0.0, float(np.mean(found))))


def length_correlation(scores: Sequence[float | None], lengths: Sequence[float]) -> Correlation:
    """Spearman's correlation of an annotation's mean score and its length, in any unit.

    Rows without a score are left out. None where fewer than three are left, or where all scores or
    all lengths are the same. Its p is rough below some 500 annotations (scipy.stats.spearmanr).
    """
    import numpy as np

    both = _floats(list(zip(scores, lengths, strict=True)))
    both = both[~np.isnan(both).any(axis=1)] if len(both) else both.reshape(0, 2)
    if len(both) < 3 or not (_varies(both[:, 0]) and _varies(both[:, 1])):
        return Correlation(None, None, len(both))
    from scipy.stats import spearmanr

    found = spearmanr(both[:, 0], both[:, 1])
    return Correlation(float(found.statistic), float(found.pvalue), len(both))


def _floats(table: Table) -> Floats:
    import numpy as np

    return np.array(table, dtype=float).reshape(len(table), -1 if len(table) else 0)


def _unit_sums(values: Floats, level: Level) -> Floats:
    """A row for each unit with two values or more: what alpha is made of, to be summed over units.

    Both distances are squared ones of points, of indicators of each value for "nominal". With m the
    values of a unit and s their squared distances from its mean, the row holds m, m s / (m - 1),
    the sum of squares, and the sum of each coordinate.
    """
    import numpy as np

    missing = np.isnan(values)
    pairable = (~missing).sum(axis=1) >= 2
    values, missing = values[pairable], missing[pairable]
    if not len(values):
        return np.empty((0, 3))
    if level == "nominal":
        points = (values[..., None] == np.unique(values[~missing])).astype(float)
    else:
        # About the mean, the squares of scores do not swamp their differences.
        spread = values - values[~missing].mean() if _varies(values[~missing]) else values * 0
        points = np.where(missing, 0, spread)[..., None]
    count = (~missing).sum(axis=1)
    total, squares = points.sum(axis=1), (points**2).sum(axis=(1, 2))
    within = np.maximum(0, squares - (total**2).sum(axis=1) / count) * count / (count - 1)
    return np.column_stack([count, within, squares, total])


def _alphas(sums: Floats) -> Floats:
    """Alpha of each row of summed unit sums; nan where all values are the same.

    With n values and S their squared distances from their mean, D_e = 2 S / (n - 1) and
    D_o = (2 / n) * the sum of m s / (m - 1).
    """
    import numpy as np

    count, within, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    spread = squares - (sums[:, 3:] ** 2).sum(axis=1) / count
    defined = spread > 1e-12 * squares
    observed = within * (count - 1) / count
    found: Floats = 1 - np.divide(observed, spread, out=np.full(len(sums), np.nan), where=defined)
    return found


def _by_the_package(table: Table) -> float:
    # For "interval" it compares all pairs of values that occur, on each unit: seconds for 120 rows
    # of scores that are all different, terabytes for 2,400. `_alphas` gives the same number.
    import krippendorff

    return float(krippendorff.alpha(_floats(table).T, level_of_measurement="nominal"))


def _correlation(one: Floats, other: Floats) -> float | None:
    import numpy as np

    both = ~(np.isnan(one) | np.isnan(other))
    one, other = one[both], other[both]
    if len(one) < 3 or not (_varies(one) and _varies(other)):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _varies(values: Floats) -> bool:
    return bool(len(values)) and float(values.max() - values.min()) > EQUAL
