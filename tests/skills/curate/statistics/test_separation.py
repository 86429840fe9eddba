"""AUROC of scores, and what personas add to the gates."""

from __future__ import annotations

import json
import random

import pytest

from skills.curate.statistics.decisions import Votes
from skills.curate.statistics.separation import added, auroc
from skills.reporting.statistics import Share

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
    shares = {"caught": caught.as_dict(), "cost": cost.as_dict()}
    return {"who": who, **shares, "alone": alone, "no_vote": no_vote, "edge": edge}


BAD = [verdict(row) for row in ("gate", "gate", "gate", "--+", "-++", "++-", "+++", "?--", "?+-")]
GOOD = [verdict(row) for row in ("gate", "+++", "+-+", "++?", "--+")]


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    chance = random.Random(1)
    for _ in range(20):
        good = [chance.randrange(8) / 2 for _ in range(chance.randrange(1, 20))]
        bad = [chance.randrange(7) / 2 for _ in range(chance.randrange(1, 20))]
        won = sum((g > b) + (g == b) / 2 for g in good for b in bad)
        found = auroc(good, bad)
        assert found["value"] == pytest.approx(won / (len(good) * len(bad)), abs=1e-12)
        assert (found["n_good"], found["n_bad"]) == (len(good), len(bad))
        assert found["low"] is not None
        assert found["high"] is not None
        assert 0 <= found["low"] <= won / (len(good) * len(bad)) <= found["high"] <= 1


def test_an_empty_side_has_no_auroc() -> None:
    assert auroc([], [1.0])["n_bad"] == 1
    found = auroc([2.0, 3.0], [None])
    assert (found["value"], found["low"], found["high"]) == (None, None, None)
    assert (found["n_good"], found["n_bad"]) == (2, 0)
    assert not auroc([], [])["at_chance"]


def test_invalid_scores_are_left_out() -> None:
    found = auroc([3.0, None, 4.0], [1.0, None])
    assert (found["value"], found["n_good"], found["n_bad"]) == (1.0, 2, 1)


def test_the_interval_solves_newcombes_equation() -> None:
    found = auroc([2.0, 3.0, 4.0, 5.0, 1.5, 6.0], [1.0, 2.5, 0.5, 3.5])
    n, m, value = 6, 4, 19 / 24
    assert found["value"] == pytest.approx(value)
    for limit in (found["low"], found["high"]):
        assert limit is not None
        spread = 4 * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        variance = limit * (1 - limit) * (1 + spread) / (n * m)
        assert abs(limit - value) == pytest.approx(1.959964 * variance**0.5, rel=1e-5)


def test_full_separation_of_few_is_not_certain() -> None:
    found = auroc([4.0, 5.0, 4.5], [1.0, 2.0, 3.0])
    assert (found["value"], found["high"]) == (1.0, 1.0)
    assert found["low"] is not None
    assert found["low"] < 0.75
    turned = auroc([1.0, 2.0, 3.0], [4.0, 5.0, 4.5])
    assert (turned["value"], turned["low"]) == (0.0, 0.0)
    assert turned["high"] == pytest.approx(1 - found["low"])
    more = auroc([4.0] * 50, [1.0] * 50)
    assert more["low"] is not None
    assert more["low"] > 0.95


def test_equal_scores_are_at_chance() -> None:
    found = auroc([3.0] * 30, [3.0] * 30)
    assert (found["value"], found["at_chance"]) == (0.5, True)
    assert not auroc([4.0] * 30, [3.0] * 30)["at_chance"]
    assert not auroc([3.0] * 30, [4.0] * 30)["at_chance"]  # worse than a coin is not chance either
    assert auroc([4.0, 2.0, 5.0], [3.0, 1.0])["at_chance"]
    assert json.loads(json.dumps(found))["at_chance"] is True


def test_interval_of_auroc_has_its_nominal_coverage() -> None:
    chance, held = random.Random(2), 0
    true = 0.7602  # of normal scores one standard deviation apart: Phi(1 / sqrt 2)
    for _ in range(200):
        good, bad = ([chance.gauss(mean, 1) for _ in range(25)] for mean in (1, 0))
        found = auroc(good, bad)
        assert found["low"] is not None
        assert found["high"] is not None
        held += found["low"] <= true <= found["high"]
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
    assert [one["edge"] for one in found] == [0.0, 1.0]
    read = json.loads(json.dumps(found[0]))
    assert (read["who"], read["edge"], read["alone"]) == ("coin", 0.0, 0)
    assert (read["caught"]["share"], read["cost"]["of"]) == (0.5, 20)


def test_where_the_gates_catch_all_there_is_nothing_to_add() -> None:
    gates, *personas, panel, together = added([verdict("gate")] * 4, GOOD, NAMES, 2)
    assert gates["caught"] == together["caught"] == Share(4, 4).as_dict()
    assert [one["caught"] for one in personas] == [Share(0, 0).as_dict()] * 3
    assert panel["edge"] is None
    assert added([], [], NAMES, 2)[-1]["edge"] is None
