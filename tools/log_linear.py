"""Fit a log-linear model to target probabilities of candidates in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 120
"""Steps of L-BFGS."""


def minimized(
    features: NDArray[Any], group: NDArray[Any], targets: NDArray[Any], decay: float
) -> NDArray[Any]:
    """Return the weights of the least cross-entropy plus `decay` times the squared weights.

    Args:
        features: (candidates, features).
        group: the number of the group of each candidate, from 0, ascending.
        targets: the target probability of each candidate in its group.
    """
    from scipy.optimize import minimize

    count = group[-1] + 1

    def loss(weights: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        logits = features @ weights
        highest = np.full(count, -np.inf)
        np.maximum.at(highest, group, logits)
        powers = np.exp(logits - highest[group])
        found = powers / np.bincount(group, powers, count)[group]
        value = -np.sum(targets * np.log(found + 1e-12)) + decay * weights @ weights
        return float(value), features.T @ (found - targets) + 2 * decay * weights

    options = {"maxiter": STEPS}
    start = np.zeros(features.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x)
