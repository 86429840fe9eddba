"""A lower confidence bound of the mean of a finite population, from a random sample of it.

The bound is the one by betting, for sampling without replacement (Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", arXiv 2010.09686), whose tests BARGAIN
uses too (Zeighami, Shankar and Parameswaran 2025, arXiv 2509.02896). If the mean of all N values is
m, the expected t-th value is (N m - sum of the values before) / (N - t + 1). A gambler who bets
that the values are higher, and never more than he has, becomes 20 times richer with a probability
of at most 5% (Ville's inequality). The bound is the lowest m at which he does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

RISK = 0.05
"""Probability that the mean is below the bound."""
MOST = 0.75
"""Share of the wealth that one value can cost."""
STEPS = 40
"""Halvings of the interval of possible means."""


def lower_bound(values: Sequence[float], count: int, risk: float = RISK) -> float:
    """Return a bound that the mean of a population exceeds with the probability 1 - `risk`.

    Args:
        values: from 0 to 1, a random sample without replacement, in random order.
        count: the size of the population.
    """
    import numpy as np

    drawn, places = np.asarray(values, float), np.arange(len(values))
    before = np.cumsum(drawn) - drawn
    # The bets for `len(values)` draws: each by the variance of the values before it.
    means = (np.cumsum(drawn) + 1 / 2) / (places + 2)
    variances = (np.cumsum((drawn - means) ** 2) + 1 / 4) / (places + 2)
    known = np.concatenate(([1 / 4], variances))[: len(drawn)]
    bets = np.sqrt(2 * math.log(1 / risk) / (len(drawn) * known))

    def is_too_low(mean: float) -> bool:
        if count * mean < drawn.sum():  # the others would be below 0
            return True
        expected = (count * mean - before) / (count - places)
        stakes = np.minimum(bets, MOST / np.maximum(expected, 1e-9))
        wealth = np.cumsum(np.log1p(stakes * (drawn - expected)))
        return bool(wealth.max(initial=0.0) >= math.log(1 / risk))

    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_low(middle) else (low, middle)
    return low
