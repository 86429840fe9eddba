"""Models of results that several skills share (see `Skill.output`)."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, computed_field
from pydantic.dataclasses import dataclass

MORE = "--details shows all figures"
"""The last line of a report that shows only its verdict."""
FEWEST = 5
"""Minimum number of papers for which an interval or a distribution is shown.

A Wilson interval for four papers is at least 49 percentage points wide.
"""
TAIL = 0.025
"""The probability on each side of a 95% interval."""
Z = NormalDist().inv_cdf(1 - TAIL)

Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 4), when_used="unless-none")]
"""A number that JSON output rounds to four decimals."""


class Output(BaseModel):
    """The base class of results; the JSON may contain more fields than the model defines."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class RefusedRow(Output):
    """A row of a table that cannot be used."""

    where: str = Field(description="the file, and the line or row of the file")
    reason: str


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
