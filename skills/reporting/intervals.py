"""The shares and numbers in results, with their 95% intervals."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, computed_field
from pydantic.dataclasses import dataclass

from skills.reporting.outputs import Output

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 5
"""Minimum number of papers for which an interval or a distribution is shown.

A Wilson interval for four papers is at least 49 percentage points wide.
"""
TAIL = 0.025
"""The probability on each side of a 95% interval."""
Z = NormalDist().inv_cdf(1 - TAIL)
Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 4), when_used="unless-none")]
"""A number that JSON output rounds to four decimals."""
EQUAL = 1e-9
"""Maximum difference of two numbers that are equal except for rounding errors."""


@dataclass(frozen=True, slots=True)
class Share:
    """The number of cases with a property, with a 95% interval for the share in the population.

    Attributes:
        count: number of cases with the property.
        of: number of all cases.
    """

    count: int
    of: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def share(self) -> Rounded | None:
        return self.value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def low(self) -> Rounded:
        return self.interval[0]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def high(self) -> Rounded:
        return self.interval[1]

    @property
    def value(self) -> float | None:
        """The share, 0 to 1, or None if `of` is 0."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """The low and high end of the 95% Wilson score interval, 0 to 1.

        Unlike the normal approximation, the interval stays within 0 and 1 and is usable for few
        cases and extreme shares. The cases are treated as a random sample.
        """
        if not self.of:
            return 0.0, 1.0
        # `scipy.stats.binomtest` is not used, since its import takes a second.
        center = (self.count + Z**2 / 2) / (self.of + Z**2)
        spread = math.sqrt(self.count * (self.of - self.count) / self.of + Z**2 / 4)
        delta = Z * spread / (self.of + Z**2)
        return max(0.0, center - delta), min(1.0, center + delta)

    def __str__(self) -> str:
        if self.value is None:
            return "none"
        return f"{self.count:,} of {self.of:,} ({self.value:.0%})"


class Interval(Output):
    """A number with its 95% interval.

    Attributes:
        value: the number, or None if it is undefined.
        low: the low end of the interval, or None without an interval.
        high: the high end of the interval, or None without an interval.
        why: the reason why the value or the interval is missing, or "".
    """

    value: Rounded | None = None
    low: Rounded | None = None
    high: Rounded | None = None
    why: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return self.why or "n/a"
        if self.low is None:
            return f"{self.value:.2f} ({self.why})"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def percentile_interval(drawn: NDArray[Any]) -> tuple[float | None, float | None, str]:
    """Return the 95% percentile interval of the values in the resamples.

    A resample without a defined value (nan) is counted both below the low end and above the high
    end, since its value could be anywhere.

    Returns:
        The low end, the high end and ""; or None, None and the reason why there is no interval.
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
