"""Agreement of a panel: against the `krippendorff` package, and where it is undefined."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import krippendorff
import numpy as np
import pytest

from skills.reporting.statistics import (
    UNANIMOUS,
    alpha,
    bootstrap_weights,
    effective_votes,
    length_correlation,
    reading,
)

Row = tuple[float | None, ...]


def panel(n: int, shared: float, seed: int = 0, missing: float = 0.0) -> list[Row]:
    """Scores of five personas, whose pairwise correlation is `shared`, about 3 and 1 apart."""
    chance = np.random.default_rng(seed)
    own, common = chance.normal(size=(n, 5)), chance.normal(size=(n, 1))
    scores = 3 + math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    gone = chance.random((n, 5)) < missing
    return [
        tuple(None if out else float(score) for score, out in zip(row, outs, strict=True))
        for row, outs in zip(scores, gone, strict=True)
    ]


def passed(rows: Sequence[Row], threshold: float) -> list[tuple[bool | None, ...]]:
    return [tuple(None if s is None else s >= threshold for s in row) for row in rows]


def by_the_package(rows: Sequence[Sequence[float | None]], level: str) -> float:
    columns = np.array(rows, dtype=float).T
    return float(krippendorff.alpha(columns, level_of_measurement=level))


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_alpha_of_scores_is_what_the_package_gives(shared: float, missing: float) -> None:
    rows = panel(25, shared, seed=3, missing=missing)
    found = alpha(rows)
    assert found.value == pytest.approx(by_the_package(rows, "interval"), abs=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("threshold", [2.0, 3.0, 4.5])
def test_alpha_of_votes_is_what_the_package_gives(threshold: float, missing: float) -> None:
    votes = passed(panel(60, 0.5, seed=5, missing=missing), threshold)
    expected = by_the_package(votes, "nominal")
    assert alpha(votes).value == pytest.approx(expected, abs=1e-12)


def test_resamples_are_computed_as_the_package_would() -> None:
    from skills.reporting.statistics import _alphas, _floats, _unit_sums

    votes = passed(panel(30, 0.5, seed=6), 3.5)
    weights = bootstrap_weights(30, 15, seed=11)
    drawn = _alphas(weights @ _unit_sums(_floats(votes)))
    for value, times in zip(drawn, weights, strict=True):
        rows = [row for row, count in zip(votes, times, strict=True) for _ in range(count)]
        assert value == pytest.approx(by_the_package(rows, "nominal"), abs=1e-12)


def test_the_example_of_krippendorff_is_reproduced() -> None:
    # "Computing Krippendorff's Alpha-Reliability" (2011), section C: 4 observers, 12 units.
    data = (
        (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
        (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
        (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
        (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
    )
    rows = list(zip(*data, strict=True))
    found = alpha(rows)
    assert found.value == pytest.approx(0.849, abs=5e-4)
    assert found.units == 11


def test_one_value_throughout_has_no_alpha() -> None:
    found = alpha([(True,) * 5] * 40)
    assert (found.value, found.units, found.why) == (None, 40, UNANIMOUS)
    assert found.reading == UNANIMOUS
    # The only fail stands alone in its row, so no pair of values contains it.
    odd: tuple[bool | None, ...] = (False, None, None, None, None)
    assert alpha([*[(True,) * 5] * 40, odd]).why == UNANIMOUS


def test_scores_that_differ_by_rounding_alone_are_unanimous() -> None:
    rows = [(0.1 + 0.2, 0.3, 0.3)] * 20
    assert rows[0][0] != rows[0][1]
    assert alpha(rows).why == UNANIMOUS
    assert effective_votes(rows) is None


@pytest.mark.parametrize("rows", [[], [(None,) * 5] * 12, [(True, None, None, None, None)] * 12])
def test_votes_without_a_pair_have_no_alpha(rows: list[Row]) -> None:
    found = alpha(rows)
    assert (found.value, found.units) == (None, 0)
    assert found.why == "n/a, no annotation has two valid votes"


def test_resamples_without_an_alpha_leave_no_interval() -> None:
    unanimous = [(True,) * 5]
    # A resample of 40 misses all five odd rows with a chance of (35/40)^40 = 0.5%, and the only
    # odd row of 40 with a chance of 36%.
    some = alpha([*unanimous * 35, *[(True, True, False, False, True)] * 5])
    assert some.low is not None
    assert some.high is not None
    one = alpha([*unanimous * 39, (True, True, False, False, True)])
    assert one.value is not None
    assert (one.low, one.high) == (None, None)
    assert one.why.startswith("no interval: undefined in 3")


def test_few_annotations_get_no_interval() -> None:
    found = alpha(passed(panel(9, 0.5), 3.0))
    assert found.value is not None
    assert (found.low, found.high) == (None, None)
    assert found.why == "no interval from fewer than 10 annotations"


def test_interval_is_reproducible_and_narrows_with_n() -> None:
    rows = panel(400, 0.5)
    found = alpha(rows)
    assert found == alpha(rows)
    few = alpha(rows[:40])
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert few.low is not None
    assert few.high is not None
    assert found.low < found.value < found.high
    assert found.high - found.low < few.high - few.low


def test_interval_of_alpha_has_its_nominal_coverage() -> None:
    # For equal means and spreads, alpha of scores estimates their correlation: 0.5 here.
    held = 0
    for seed in range(60):
        found = alpha(panel(120, 0.5, seed))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.5 <= found.high
    assert held >= 52  # 95% would be 57 of 60


def test_a_panel_of_the_lesson_is_computed_in_full() -> None:
    rows = panel(2400, 0.6, missing=0.02)
    found = alpha(rows)
    assert found.value == pytest.approx(0.6, abs=0.05)
    assert found.low is not None
    assert found.why == ""
    assert json.loads(found.model_dump_json())["reading"] == "unreliable"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.8, "reliable"), (0.7, "tentative"), (0.667, "tentative"), (0.666, "unreliable")],
)
def test_alpha_is_interpreted_as_by_krippendorff(value: float, expected: str) -> None:
    assert reading(value) == expected


def test_similar_votes_of_a_lenient_panel_have_a_low_alpha() -> None:
    rows: list[tuple[bool | None, ...]] = [(True,) * 5] * 38
    rows += [(True, True, True, True, False), (False, True, True, True, None)]
    value = alpha(rows).value
    assert value is not None
    assert value < 0.05


@pytest.mark.parametrize(("shared", "worth"), [(0.4, 1.92), (0.6, 1.47), (0.8, 1.19)])
def test_effective_votes_are_those_of_kish(shared: float, worth: float) -> None:
    assert effective_votes(panel(4000, shared)) == pytest.approx(worth, abs=0.06)


def test_effective_votes_at_the_ends() -> None:
    same = [(score,) * 5 for score in (1.0, 2.0, 4.0, 3.0)]
    assert effective_votes(same) == pytest.approx(1)
    opposed = [(1.0, 5.0), (2.0, 4.0), (3.0, 3.0), (4.0, 2.0)]
    assert effective_votes(opposed) == 2  # at most the number of personas


def test_a_constant_persona_does_not_count_as_a_vote() -> None:
    rows = [(1.0, 2.0, 3.0), (2.0, 1.0, 3.0), (4.0, 3.0, 3.0), (3.0, 4.0, 3.0)]
    assert effective_votes(rows) == pytest.approx(2 / (1 + 0.6))
    assert effective_votes([(3.0, 3.0, score) for score in (1.0, 2.0, 4.0)]) is None
    assert effective_votes([]) is None
    assert effective_votes([(1.0, 2.0)] * 2) is None


def test_pairs_are_correlated_on_common_annotations() -> None:
    rows: list[Row] = [(1, 1, None), (2, 2, None), (3, 3, 1), (4, 5, 2), (None, 1, 3)]
    r = float(np.corrcoef([1, 2, 3, 4], [1, 2, 3, 5])[0, 1])
    other = float(np.corrcoef([3, 5, 1], [1, 2, 3])[0, 1])
    assert (r + other) / 2 > 0
    assert effective_votes(rows) == pytest.approx(3 / (1 + 2 * (r + other) / 2))


def test_scores_that_follow_the_length_show_it() -> None:
    found = length_correlation([1.0, 2.0, None, 3.0, 5.0], [10, 20, 0, 30, 400])
    assert (found["value"], found["n"]) == (1, 4)
    falling = length_correlation([5.0, 3.0, 4.0, 1.0], [10, 20, 30, 40])
    assert falling == {"value": -0.8, "p": 0.2, "n": 4}


@pytest.mark.parametrize(
    ("scores", "lengths"),
    [
        ([], []),
        ([1.0, 2.0], [1, 2]),
        ([1.0, 2.0, None], [1, 2, 3]),
        ([3.0, 3.0, 3.0, 3.0], [1, 2, 3, 4]),
        ([1.0, 2.0, 3.0, 4.0], [7, 7, 7, 7]),
    ],
)
def test_no_correlation_of_too_few_or_of_equal_values(
    scores: list[float | None], lengths: list[float]
) -> None:
    found = length_correlation(scores, lengths)
    assert (found["value"], found["p"]) == (None, None)


def test_three_annotations_in_one_order_raise_no_warning() -> None:
    assert length_correlation([1.0, 2.0, 3.0], [1, 2, 3])["value"] == 1
