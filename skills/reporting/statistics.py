"""Shares with their intervals, and the bootstrap: the statistics of all reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
