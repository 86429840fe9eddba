"""Calibration: compared with trying every quantile, and its limits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from harness.errors import InputError
from skills.curate.statistics import calibration
from skills.curate.statistics.decisions import decide, passes

Rows = list[tuple[float | None, ...]]


def panel(
    n: int, seed: int, personas: int = 5, *, steps: int | None = None, invalid: float = 0.0
) -> Rows:
    """Return correlated scores of 1 to 5; `steps` per point make ties."""
    chance = random.Random(seed)
    rows: Rows = []
    for _ in range(n):
        common = chance.gauss(3, 0.8)
        drawn = [min(5.0, max(1.0, chance.gauss(common, 0.7))) for _ in range(personas)]
        if steps:
            drawn = [round(score * steps) / steps for score in drawn]
        rows.append(tuple(None if chance.random() < invalid else score for score in drawn))
    return rows


def decisions(rows: Rows, thresholds: Sequence[float], min_votes: int) -> list[bool | None]:
    return [decide(passes(row, thresholds), min_votes) for row in rows]


def not_kept(rows: Rows, thresholds: Sequence[float], min_votes: int) -> int:
    return sum(kept is not True for kept in decisions(rows, thresholds, min_votes))


@dataclass
class Calibrated:
    """Thresholds, and their effect on the rows that they were set on."""

    thresholds: tuple[float, ...]
    achieved: float
    why: str
    panel_rejected: int
    failed: float  # the share of the first persona's votes


def calibrate(rows: Rows, gated: int, rate: float, min_votes: int = 3) -> Calibrated:
    thresholds, achieved, why = calibration.calibrate(rows, gated, rate, min_votes)
    first = [row[0] for row in rows if row[0] is not None]
    failed = sum(score < thresholds[0] for score in first) / len(first)
    rejected = not_kept(rows, thresholds, min_votes)
    return Calibrated(thresholds, achieved, why, rejected, failed)


def at(quantile: float, rows: Rows) -> tuple[float, ...]:
    """Return each persona's lowest score that more than `quantile` of its scores do not exceed."""
    found = []
    for column in zip(*rows, strict=True):
        scores = [score for score in column if score is not None]
        found.append(
            min(
                score
                for score in scores
                if sum(other <= score for other in scores) / len(scores) > quantile
            )
        )
    return tuple(found)


def every_quantile(rows: Rows) -> list[float]:
    sizes = {sum(score is not None for score in column) for column in zip(*rows, strict=True)}
    return sorted({step / size for size in sizes for step in range(size)})


@pytest.mark.parametrize("seed", range(40))
def test_no_quantile_comes_nearer_to_the_rate(seed: int) -> None:
    chance = random.Random(seed)
    rows = panel(
        chance.randrange(1, 45),
        seed,
        chance.randrange(1, 7),
        steps=chance.choice((None, 4, 1)),
        invalid=chance.choice((0.0, 0.1, 0.4)),
    )
    if any(all(score is None for score in column) for column in zip(*rows, strict=True)):
        pytest.skip("a persona of this panel has no valid vote")
    min_votes, gated = chance.randrange(1, len(rows[0]) + 1), chance.randrange(0, 12)
    rate = chance.choice((0.1, 0.3, 0.5, 0.9))
    found = calibrate(rows, gated, rate, min_votes)
    total = len(rows) + gated
    tried = {not_kept(rows, at(quantile, rows), min_votes) for quantile in every_quantile(rows)}
    nearest = min(abs((count + gated) / total - rate) for count in tried)
    assert abs(found.achieved - rate) == pytest.approx(nearest, abs=1e-12)
    assert found.thresholds in [at(quantile, rows) for quantile in every_quantile(rows)]
    assert found.achieved == (found.panel_rejected + gated) / total


def test_the_rate_is_met_to_the_annotation() -> None:
    rows = panel(2280, seed=1)
    found = calibrate(rows, 120, 0.3)
    assert found.panel_rejected == 600
    assert (found.achieved, found.why) == (0.3, "")


def test_failed_votes_lie_between_independent_and_equal() -> None:
    same: Rows = [(score,) * 5 for score in [index / 100 for index in range(100)]]
    assert calibrate(same, 0, 0.3).failed == 0.3
    assert 0.3 < calibrate(panel(400, seed=2), 0, 0.3).failed < 0.39
    chance = random.Random(3)
    independent: Rows = [tuple(chance.random() for _ in range(5)) for _ in range(4000)]
    assert calibrate(independent, 0, 0.3).failed == pytest.approx(0.39, abs=0.01)


def test_gates_that_reject_enough_leave_nothing_to_the_panel() -> None:
    rows = panel(70, seed=4)
    for gated in (30, 50):
        found = calibrate(rows, gated, 0.3)
        assert found.thresholds == tuple(min(column) for column in zip(*rows, strict=True))
        assert (found.failed, found.panel_rejected) == (0.0, 0)
        assert found.achieved == gated / (70 + gated)
    assert found.why == (
        "the gates and rows with too few valid votes reject 41.7% already: the thresholds are the "
        "lowest scores"
    )
    assert calibrate(rows, 29, 0.3).why == ""


def test_rows_with_too_few_valid_votes_are_never_kept() -> None:
    rows = [*panel(60, seed=5), *[(4.0, 4.0, None, None, None)] * 20]
    found = calibrate(rows, 20, 0.3)
    assert (found.panel_rejected, found.achieved) == (20, 0.4)
    assert "reject 40.0% already" in found.why
    assert calibrate(rows, 0, 0.5).panel_rejected == 40


def test_an_undecided_row_counts_as_not_kept() -> None:
    rows: Rows = [(float(score),) * 3 for score in range(1, 10)]
    rows.append((9.0, 1.0, None))
    found = calibrate(rows, 0, 0.4, 2)
    assert passes(rows[-1], found.thresholds) == (True, False, None)
    decided = decisions(rows, found.thresholds, 2)
    assert decided[-1] is None
    assert found.panel_rejected == 4 == decided.count(False) + 1


def test_ties_are_rejected_together_or_not_at_all() -> None:
    rows: Rows = [(float(score),) * 5 for score in (1, 2, 3, 4) for _ in range(20)]
    found = calibrate(rows, 0, 0.3)
    assert found.panel_rejected == 20
    assert found.thresholds == (2.0,) * 5
    assert found.why == "the scores have too many ties to come nearer to the rate"
    # 0.375 is as far from 0.25 as from 0.5: the one that rejects fewer is taken.
    assert calibrate(rows, 0, 0.375).panel_rejected == 20
    assert calibrate(rows, 0, 0.38).panel_rejected == 40


@pytest.mark.parametrize("seed", range(20))
def test_scores_without_ties_reach_the_rate(seed: int) -> None:
    for n in (20, 40, 100):
        found = calibrate(panel(n, seed), 0, 0.3)
        assert found.why == ""
        assert abs(found.panel_rejected - 0.3 * n) <= 2.5


def test_a_constant_panel_rejects_nothing() -> None:
    found = calibrate([(3.0,) * 5] * 50, 5, 0.3)
    assert found.panel_rejected == 0
    assert found.thresholds == (3.0,) * 5
    assert "too many ties" in found.why


def test_few_annotations_are_noted() -> None:
    why = "set on 19 judged annotations, too few to generalise"
    assert calibrate(panel(19, seed=6), 0, 0.3).why == why
    assert calibrate(panel(20, seed=6), 0, 0.3).why == ""
    assert calibrate(panel(19, seed=6), 19, 0.3).why.endswith(f"lowest scores; {why}")


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="no judged annotation"):
        calibration.calibrate([], 12, 0.3)
    with pytest.raises(InputError, match="persona 2 of 3 has no valid vote"):
        calibration.calibrate([(3.0, None, 2.0), (2.0, None, 1.0)], 0, 0.3, 2)
