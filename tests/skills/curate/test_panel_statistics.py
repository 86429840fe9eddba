"""The decisions of a panel, and the borderline rows."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from harness.errors import InputError
from skills.curate import panel_statistics
from skills.curate.outputs import Added
from skills.curate.panel_statistics import (
    INCOMPLETE,
    Votes,
    added,
    auroc,
    borderline,
    check_min_votes,
    is_kept,
    passes,
    splits,
    vote_against_mean,
    weights,
)
from skills.reporting.intervals import Share

THREES = (3.0, 3.0, 3.0, 3.0, 3.0)


def votes(text: str) -> Votes:
    """ "++-?+" as votes: pass, fail, invalid."""
    return tuple({"+": True, "-": False, "?": None}[sign] for sign in text)


def weight(lost: int, gained: int, deciding: int, of: int) -> dict[str, int]:
    flips = lost + gained
    return {"flips": flips, "lost": lost, "gained": gained, "deciding": deciding, "of": of}


def test_a_vote_passes_from_its_personas_threshold_on() -> None:
    assert passes((3.0, 2.9, 4.0), (3.0, 3.0, 4.1)) == (True, False, False)
    assert passes((None, 5.0, 1.0), (3.0, 3.0, 4.1)) == (None, True, False)


def test_a_row_without_a_score_for_each_threshold_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        passes((3.0, 3.0), (3.0, 3.0, 3.0))


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ("+++--", True),
        ("++---", False),
        ("+++??", True),
        ("++?--", None),
        ("+??--", None),
        ("+?---", False),
        ("?????", None),
    ],
)
def test_a_row_is_undecided_if_invalid_votes_could_keep_it(row: str, kept: bool | None) -> None:
    assert is_kept(votes(row), 3) is kept


@pytest.mark.parametrize("min_votes", [0, 6])
def test_a_number_of_votes_that_a_panel_cannot_give_is_refused(min_votes: int) -> None:
    with pytest.raises(InputError) as caught:
        check_min_votes(5, min_votes)
    assert str(caught.value) == (
        f"--min-votes: a panel of 5 cannot give {min_votes} votes. Give a number from 1 to 5."
    )


def test_splits_list_every_count_and_invalid_votes() -> None:
    rows = [votes(row) for row in ("+++++", "+++--", "++-+-", "-----", "+++?+")]
    found = splits(rows)
    assert list(found.items()) == [
        ("5-0", 1),
        ("4-1", 0),
        ("3-2", 2),
        ("2-3", 0),
        ("1-4", 0),
        ("0-5", 1),
        (INCOMPLETE, 1),
    ]
    assert splits([]) == {}


def test_vote_and_mean_disagree_where_few_scores_are_extreme() -> None:
    scores = [
        (3.1, 3.1, 3.1, 1.0, 1.0),  # three weak passes, two strong fails
        (5.0, 5.0, 2.9, 2.9, 2.9),  # two strong passes, three weak fails
        (4.0, 4.0, 4.0, 4.0, 4.0),
        (4.0, 4.0, None, 2.0, 2.0),  # open: not compared
        (None, None, None, 1.0, 1.0),  # open as well
        (None, None, 1.0, 1.0, 1.0),
    ]
    found = vote_against_mean(scores, THREES, 3)
    assert found == {"count": 2, "vote_only": 1, "mean_only": 1, "of": 4}


def test_the_mean_keeps_a_row_that_meets_the_thresholds_exactly() -> None:
    # On paper these gaps add up to 0; in floating point they are -3e-17.
    rows = [(0.1, 0.2, 0.7)]
    assert vote_against_mean(rows, (0.7, 0.1, 0.2), 1)["count"] == 0
    assert vote_against_mean(rows, (0.7, 0.1, 0.21), 1)["vote_only"] == 1


def test_each_persona_weighs_what_its_absence_would_change() -> None:
    rows = [votes(row) for row in ("+++--", "++++-", "++---", "++?--")]
    assert weights(rows, 3) == [
        weight(1, 0, 1, 4),
        weight(1, 0, 1, 4),
        weight(1, 0, 2, 4),
        weight(0, 0, 2, 4),
        weight(0, 0, 2, 4),
    ]
    assert weights([], 3) == []


def test_the_only_fail_decides_where_all_must_pass() -> None:
    found = weights([votes("++++-"), votes("+++++")], 5)
    assert [each["gained"] for each in found] == [0, 0, 0, 0, 1]
    assert [each["lost"] for each in found] == [0] * 5
    assert found[4] == weight(0, 1, 2, 2)


def test_without_its_only_persona_a_panel_keeps_nothing() -> None:
    assert weights([(True,), (False,)], 1) == [weight(1, 0, 2, 2)]


def test_weights_equal_decisions_without_the_persona() -> None:
    chance = random.Random(4)
    for _ in range(30):
        rows = [tuple(chance.choice((True, False, None)) for _ in range(5)) for _ in range(20)]
        for min_votes in range(1, 6):
            before = [is_kept(row, min_votes) is True for row in rows]
            bar = -(-min_votes * 4 // 5)
            for persona, found in enumerate(weights(rows, min_votes)):
                rest = [row[:persona] + row[persona + 1 :] for row in rows]
                after = [is_kept(row, bar) is True for row in rest]
                assert found["flips"] == sum(
                    one != two for one, two in zip(before, after, strict=True)
                )


def test_borderline_lists_the_closest_rows_first() -> None:
    scores = [
        (5.0, 5.0, 5.0, 5.0, 5.0),  # firm
        (5.0, 5.0, 3.4, 1.0, 1.0),  # 3-2; a change of 0.4 would turn it
        (5.0, 5.0, 2.75, 1.0, 1.0),  # 2-3; a change of 0.25 would turn it
        (5.0, 5.0, 3.1, 3.0, 1.0),  # 4-1: both weak passes would have to fail, by 0.1
        (5.0, 5.0, 3.2, 3.0, 1.0),  # 4-1, by 0.2: too far
        (2.95, 2.95, 2.95, 1.0, 1.0),  # 0-5: three weak fails would have to pass, by 0.05
        (5.0, 5.0, None, 1.0, 1.0),  # open
        (1.0, 1.0, None, 1.0, 1.0),  # firm, although a vote is invalid
        (5.0, 1.0, None, 1.0, 1.0),  # one vote and the invalid one would keep it
    ]
    found = borderline(scores, THREES, 3)
    assert [(row, passed, round(distance, 6)) for distance, row, passed in found] == [
        (6, 2, 0.0),
        (5, 0, 0.05),
        (3, 4, 0.1),
        (2, 2, 0.25),
        (1, 3, 0.4),
        (8, 1, 2.0),
    ]
    assert [row for _, row, _ in borderline(scores, THREES, 3, margin=0.04)] == [6, 2, 1, 8]
    assert borderline([(5.0, 5.0, 3.25, 3.0, 1.0)], THREES, 3, margin=0.25) == []


def test_a_score_on_its_threshold_is_as_close_as_can_be() -> None:
    assert borderline([(3.0,)], (3.0,), 1) == [(0.0, 0, 1)]


def test_the_distance_is_what_turns_a_decision() -> None:
    chance = random.Random(8)
    rows = [tuple(chance.uniform(1, 5) for _ in range(5)) for _ in range(300)]
    thresholds = tuple(chance.uniform(2, 4) for _ in range(5))
    kept = [is_kept(passes(row, thresholds), 3) for row in rows]
    found = borderline(rows, thresholds, 3, margin=9)
    assert len(found) == len(rows)
    for distance, row, _ in found:
        sign = -1 if kept[row] else 1
        for step, turns in ((distance + 1e-9, True), (distance - 1e-9, False)):
            moved = tuple(score + sign * step for score in rows[row])
            assert (is_kept(passes(moved, thresholds), 3) != kept[row]) is turns


NAMES = ("facts", "methods", "editor")


def verdict(text: str) -> Votes | None:
    """ "gate", or the votes: "+-?"."""
    if text == "gate":
        return None
    return tuple({"+": True, "-": False, "?": None}[sign] for sign in text)


def line(
    who: str, caught: Share, cost: Share, alone: int | None = None, no_vote: int = 0
) -> object:
    edge = caught.count / caught.of - cost.count / cost.of
    return Added(who=who, caught=caught, cost=cost, alone=alone, no_vote=no_vote, edge=edge)


BAD = [verdict(row) for row in ("gate", "gate", "gate", "--+", "-++", "++-", "+++", "?--", "?+-")]
GOOD = [verdict(row) for row in ("gate", "+++", "+-+", "++?", "--+")]


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    chance = random.Random(1)
    for _ in range(20):
        good = [chance.randrange(8) / 2 for _ in range(chance.randrange(1, 20))]
        bad = [chance.randrange(7) / 2 for _ in range(chance.randrange(1, 20))]
        won = sum((g > b) + (g == b) / 2 for g in good for b in bad)
        found = auroc(good, bad)
        assert found.value == pytest.approx(won / (len(good) * len(bad)), abs=1e-12)
        assert (found.n_good, found.n_bad) == (len(good), len(bad))
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= won / (len(good) * len(bad)) <= found.high <= 1


def test_an_empty_side_has_no_auroc() -> None:
    assert auroc([], [1.0]).n_bad == 1
    found = auroc([2.0, 3.0], [None])
    assert (found.value, found.low, found.high) == (None, None, None)
    assert (found.n_good, found.n_bad) == (2, 0)
    assert not auroc([], []).at_chance


def test_invalid_scores_are_left_out() -> None:
    found = auroc([3.0, None, 4.0], [1.0, None])
    assert (found.value, found.n_good, found.n_bad) == (1.0, 2, 1)


def test_the_interval_solves_newcombes_equation() -> None:
    found = auroc([2.0, 3.0, 4.0, 5.0, 1.5, 6.0], [1.0, 2.5, 0.5, 3.5])
    n, m, value = 6, 4, 19 / 24
    assert found.value == pytest.approx(value)
    for limit in (found.low, found.high):
        assert limit is not None
        spread = 4 * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        variance = limit * (1 - limit) * (1 + spread) / (n * m)
        assert abs(limit - value) == pytest.approx(1.959964 * variance**0.5, rel=1e-5)


def test_full_separation_of_few_is_not_certain() -> None:
    found = auroc([4.0, 5.0, 4.5], [1.0, 2.0, 3.0])
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low is not None
    assert found.low < 0.75
    turned = auroc([1.0, 2.0, 3.0], [4.0, 5.0, 4.5])
    assert (turned.value, turned.low) == (0.0, 0.0)
    assert turned.high == pytest.approx(1 - found.low)
    more = auroc([4.0] * 50, [1.0] * 50)
    assert more.low is not None
    assert more.low > 0.95


def test_equal_scores_are_at_chance() -> None:
    found = auroc([3.0] * 30, [3.0] * 30)
    assert (found.value, found.at_chance) == (0.5, True)
    assert not auroc([4.0] * 30, [3.0] * 30).at_chance
    assert not auroc([3.0] * 30, [4.0] * 30).at_chance  # worse than chance is not at chance
    assert auroc([4.0, 2.0, 5.0], [3.0, 1.0]).at_chance
    assert json.loads(found.model_dump_json())["at_chance"] is True


def test_interval_of_auroc_has_its_nominal_coverage() -> None:
    chance, held = random.Random(2), 0
    true = 0.7602  # of normal scores one standard deviation apart: Phi(1 / sqrt 2)
    for _ in range(200):
        good, bad = ([chance.gauss(mean, 1) for _ in range(25)] for mean in (1, 0))
        found = auroc(good, bad)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= true <= found.high
    assert 182 <= held <= 199


def test_personas_are_measured_on_what_passes_the_gates() -> None:
    assert added(BAD, GOOD, NAMES, 2) == [
        line("gates", Share(3, 9), Share(1, 5)),
        line("facts", Share(2, 4), Share(1, 4), alone=1, no_vote=2),
        line("methods", Share(2, 6), Share(2, 4), alone=0, no_vote=0),
        line("editor", Share(3, 6), Share(0, 3), alone=2, no_vote=1),
        line("panel", Share(2, 5), Share(1, 4), no_vote=1),
        line("together", Share(5, 8), Share(2, 5), no_vote=1),
    ]


def test_a_random_persona_has_no_edge() -> None:
    bad = [(turn, False) for turn in (True, False)] * 10
    good = [(turn, True) for turn in (True, False)] * 10
    _, *found, _, _ = added(bad, good, ("coin", "judge"), 1)
    assert [one.edge for one in found] == [0.0, 1.0]
    read = json.loads(found[0].model_dump_json())
    assert (read["who"], read["edge"], read["alone"]) == ("coin", 0.0, 0)
    assert (read["caught"]["share"], read["cost"]["of"]) == (0.5, 20)


def test_where_the_gates_catch_all_there_is_nothing_to_add() -> None:
    gates, *personas, panel, together = added([verdict("gate")] * 4, GOOD, NAMES, 2)
    assert gates.caught == together.caught == Share(4, 4)
    assert [one.caught for one in personas] == [Share(0, 0)] * 3
    assert panel.edge is None
    assert added([], [], NAMES, 2)[-1].edge is None


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
    return [is_kept(passes(row, thresholds), min_votes) for row in rows]


def not_kept(rows: Rows, thresholds: Sequence[float], min_votes: int) -> int:
    return sum(kept is not True for kept in decisions(rows, thresholds, min_votes))


@dataclass
class Calibrated:
    """Thresholds, and their effect on the rows that they were set on."""

    thresholds: tuple[float, ...]
    achieved: float
    why: str
    panel_rejected: int
    failed: float  # the share of failing votes of the first persona


def calibrate(rows: Rows, gated: int, rate: float, min_votes: int = 3) -> Calibrated:
    thresholds, achieved, why = panel_statistics.calibrate(rows, gated, rate, min_votes)
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
        "the gates and rows with too few valid votes reject 41.7% already: each threshold is the "
        "lowest score of its persona"
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
    assert found.why == "the scores have too many ties to come closer to the reject rate"
    # 0.375 is as far from 0.25 as from 0.5: the threshold that rejects fewer is taken.
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
    assert calibrate(panel(19, seed=6), 19, 0.3).why.endswith(f"of its persona; {why}")


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="no judged annotation"):
        panel_statistics.calibrate([], 12, 0.3)
    with pytest.raises(InputError, match="persona 2 of 3 has no valid vote"):
        panel_statistics.calibrate([(3.0, None, 2.0), (2.0, None, 1.0)], 0, 0.3, 2)
