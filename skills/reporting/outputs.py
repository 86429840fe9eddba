"""Models that the results of several skills share (`Skill.output`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from statistics import NormalDist
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, computed_field
from pydantic.dataclasses import dataclass

MORE = "--details shows all figures"
"""The last line of a report that begins with its verdict and leaves out details."""
FEWEST = 5
"""Minimum number of papers for which an interval or a distribution is shown: a Wilson interval for
four papers is at least 49 percentage points wide.
"""
TAIL = 0.025
"""The share of resamples beyond either end of a 95% interval."""
Z = NormalDist().inv_cdf(1 - TAIL)

Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 4), when_used="unless-none")]
"""A figure that is rounded to four decimals in JSON."""


class Output(BaseModel):
    """A result; in JSON it may have more fields than the model defines."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class RefusedRow(Output):
    """A row of the input that cannot be used."""

    where: str = Field(description="the file and the line")
    reason: str


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a sample, with the 95% interval of the share of the population."""

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
        """The proportion, 0 to 1, or None if `of` is 0."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval: low and high, 0 to 1.

        Unlike the normal approximation, it stays within 0 and 1, and is usable near 0 and 1 and for
        few papers. It treats the papers as a random sample.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: count, of, share, low, high."""
        figures = {"share": self.value, "low": self.interval[0], "high": self.interval[1]}
        rounded = {name: value and round(value, 4) for name, value in figures.items()}
        return {"count": self.count, "of": self.of, **rounded}


class Interval(Output):
    """A figure with its 95% interval.

    Attributes:
        value: the figure, or None if it is undefined.
        low, high: the ends of the interval, or None without an interval.
        why: the reason for a missing value or interval.
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


def figures(found: Any) -> Any:
    """Return the JSON form of dataclasses, with rounded figures, and shares by `Share.as_dict`."""
    if isinstance(found, Share):
        return found.as_dict()
    if is_dataclass(found):
        return {field.name: figures(getattr(found, field.name)) for field in fields(found)}
    if isinstance(found, Mapping):
        return {name: figures(value) for name, value in found.items()}
    if isinstance(found, tuple):
        return [figures(value) for value in found]
    return round(found, 4) if isinstance(found, float) else found
