"""The decisions of a panel, and the borderline rows."""

from __future__ import annotations

import random

import pytest

from harness.errors import InputError
from skills.curate.statistics.decisions import (
    INCOMPLETE,
    borderline,
    check_min_votes,
    decide,
    passes,
    splits,
    vote_against_mean,
    weights,
)

THREES = (3.0, 3.0, 3.0, 3.0, 3.0)
Votes = tuple[bool | None, ...]


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
    assert decide(votes(row), 3) is kept


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
            before = [decide(row, min_votes) is True for row in rows]
            bar = -(-min_votes * 4 // 5)
            for persona, found in enumerate(weights(rows, min_votes)):
                rest = [row[:persona] + row[persona + 1 :] for row in rows]
                after = [decide(row, bar) is True for row in rest]
                assert found["flips"] == sum(
                    one != two for one, two in zip(before, after, strict=True)
                )


def test_borderline_lists_the_closest_rows_first() -> None:
    scores = [
        (5.0, 5.0, 5.0, 5.0, 5.0),  # firm
        (5.0, 5.0, 3.4, 1.0, 1.0),  # 3-2, to be turned by 0.4
        (5.0, 5.0, 2.75, 1.0, 1.0),  # 2-3, by 0.25
        (5.0, 5.0, 3.1, 3.0, 1.0),  # 4-1: both weak passes would have to fail, by 0.1
        (5.0, 5.0, 3.2, 3.0, 1.0),  # 4-1, by 0.2: too far
        (2.95, 2.95, 2.95, 1.0, 1.0),  # 0-5, three weak fails, by 0.05
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
    kept = [decide(passes(row, thresholds), 3) for row in rows]
    found = borderline(rows, thresholds, 3, margin=9)
    assert len(found) == len(rows)
    for distance, row, _ in found:
        sign = -1 if kept[row] else 1
        for step, turns in ((distance + 1e-9, True), (distance - 1e-9, False)):
            moved = tuple(score + sign * step for score in rows[row])
            assert (decide(passes(moved, thresholds), 3) != kept[row]) is turns
