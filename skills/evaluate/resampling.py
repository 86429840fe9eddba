"""Figures over papers with their intervals: the paired bootstrap.

A statistic is a function of sums over papers, so that resampling is one matrix product. All
statistics use the same samples, so the difference of two of them is paired by paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from skills.reporting.statistics import (
    Share,
    bootstrap_weights,
    divided,
    figures,
    kappas,
    percentile_interval,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Values = Floats | Flags

T = TypeVar("T")
RESAMPLES, SEED = 10_000, 0
LEAST_PAPERS = 5
"""Fewer papers than this give no interval: resamples of so few hardly differ."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A figure over papers.

    Attributes:
        sums: n by k, what each paper adds to each of k sums.
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


class Resamples:
    """`count` bootstrap samples of `papers` papers, the same for the same seed."""

    def __init__(self, papers: int, count: int = RESAMPLES, seed: int = SEED) -> None:
        self._weights = bootstrap_weights(papers, count, seed)

    def of(self, statistic: Statistic) -> Sampled:
        """Evaluate one statistic (`of_all`)."""
        return self.of_all({"": statistic})[""]

    def of_all(self, statistics: Mapping[T, Statistic]) -> dict[T, Sampled]:
        """Evaluate statistics over all papers and over each resample."""
        import numpy as np

        # In one product, since numpy converts the weights for each.
        sums = np.hstack([one.sums for one in statistics.values()])
        drawn = np.asarray(self._weights @ sums, np.float64)
        found, start = {}, 0
        for key, statistic in statistics.items():
            end = start + statistic.sums.shape[1]
            found[key] = _sampled(statistic, drawn[:, start:end])
            start = end
        return found


def _sampled(statistic: Statistic, drawn: Floats) -> Sampled:
    whole = statistic.sums.sum(axis=0, keepdims=True)
    share = Share(int(whole[0, 0]), int(whole[0, 1])) if statistic.is_share else None
    value = float(statistic.value(whole)[0])
    return Sampled(value, statistic.value(drawn), statistic.counted, share)


def estimate(sampled: Sampled, fewest: int | None = None) -> dict[str, Any]:
    """Return a figure with its 95% interval: Wilson's for shares, else the bootstrap's.

    Args:
        fewest: the number of papers that the interval rests on, by default those counted.

    Returns:
        value: None if it is undefined.
        low, high: None if there is no interval.
        papers: the number of papers that it is about.
        why: the reason if there is no value or no interval, else "".
    """
    papers = int(sampled.counted.sum())
    value: float | None = sampled.value
    low, high, why = None, None, ""
    if math.isnan(sampled.value):
        value, why = None, "undefined" if papers else "no papers"
    elif sampled.share is not None:  # all resamples of a share of 0 or 1 are equal
        low, high = sampled.share.interval
    elif (papers if fewest is None else fewest) < LEAST_PAPERS:
        why = f"no interval from fewer than {LEAST_PAPERS} papers"
    else:
        low, high, why = percentile_interval(sampled.drawn)
    found = {"value": value, "low": low, "high": high, "papers": papers, "why": why}
    return dict(figures(found))


def difference(first: Sampled, other: Sampled) -> dict[str, Any]:
    """Return first - other, paired by paper, over the papers that either is about.

    There is an interval only if each side has enough papers for an interval of its own.
    """
    drawn, either = first.drawn - other.drawn, first.counted | other.counted
    fewest = min(int(first.counted.sum()), int(other.counted.sum()))
    return estimate(Sampled(first.value - other.value, drawn, either), fewest)


def unpaired_difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return first - other from two figures with intervals, if the papers' values are unknown.

    The interval is that of independent samples (MOVER: Zou and Donner 2008, "Construction of
    confidence limits about effect measures"). On the same papers, where an easy paper is easy for
    both, it is wider than the paired one.
    """
    value, low, high, why = None, None, None, ""
    if first["value"] is None or other["value"] is None:
        why = "undefined"
    else:
        value = first["value"] - other["value"]
        if first["low"] is None or other["low"] is None:
            why = "no interval: one of the two figures has none"
        else:
            low = value - math.hypot(first["value"] - first["low"], other["high"] - other["value"])
            high = value + math.hypot(first["high"] - first["value"], other["value"] - other["low"])
    papers = max(first["papers"], other["papers"])
    found = {"value": value, "low": low, "high": high, "papers": papers, "why": why}
    return dict(figures(found))


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


def kappa(predicted: Flags, gold: Flags) -> Statistic:
    """Return Cohen's kappa of two judgements (Cohen 1960): (p_o - p_e) / (1 - p_e).

    Both may be n by m, and are then pooled. It is undefined if both always give the same answer.
    """
    import numpy as np

    n = len(predicted)
    pairs = [predicted & gold, predicted & ~gold, ~predicted & gold, ~predicted & ~gold]
    counts = [pair.reshape(n, -1).sum(axis=1) for pair in pairs]
    return Statistic(np.stack(counts, axis=1).astype(np.float64), kappas, np.ones(n, bool))
