"""The bound by betting: it holds as often as it states, and it is tight."""

from __future__ import annotations

import numpy as np
import pytest

from skills.annotate.cascade.bound import lower_bound


@pytest.mark.parametrize("mean", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("size", [10, 60])
def test_it_holds_in_95_percent_of_samples(mean: float, size: int) -> None:
    random = np.random.default_rng(size)
    population = (random.random(120) < mean).astype(float)  # the widest values there are
    samples = [random.permutation(population)[:size] for _ in range(200)]
    held = sum(lower_bound(sample.tolist(), 120) <= population.mean() for sample in samples)
    assert held >= (0.95 - 2 * 0.0154) * 200  # less two standard errors


def test_it_is_the_mean_of_a_whole_population() -> None:
    values = [0.5, 1.0, 0.25, 0.75, 0.5]
    assert lower_bound(values, 5) == pytest.approx(0.6, abs=1e-6)


def test_it_is_closer_than_hoeffdings_if_the_values_differ_little() -> None:
    values = np.random.default_rng(0).uniform(0.7, 0.9, 100)
    hoeffding = values.mean() - np.sqrt(np.log(20) / 200)
    assert hoeffding + 0.05 < lower_bound(values.tolist(), 10_000) < values.mean()


def test_it_rises_with_the_sample_and_the_confidence_that_is_given_up() -> None:
    values = [0.8, 0.9, 1.0, 0.7] * 25
    bounds = [lower_bound(values[:size], 1000) for size in (4, 20, 100)]
    assert bounds == sorted(bounds)
    assert lower_bound(values, 1000, risk=0.2) > bounds[-1]


def test_an_empty_sample_bounds_nothing() -> None:
    assert lower_bound([], 10) == 0.0
