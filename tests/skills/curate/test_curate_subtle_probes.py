"""Known-bad annotations that no gate can see."""

import random

import pytest

from skills.curate.inputs import gates, probes
from skills.curate.inputs.subtle_probes import MAKERS, SUBTLE
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ABSTRACT = (
    "Long queues waste the time of ferry passengers. We present Tidewatch, a booking tool that "
    "spreads arrivals over the day. In a trial at 14 harbours with 380 passengers, it reduces the "
    "mean waiting time from 52 to 31 minutes, and outperforms a plain timetable. The trial covers "
    "summer months only. Harbours can adopt it without new staff."
)
MOVES = {
    "claim": "Tidewatch reduces the waiting time of ferry passengers by spreading their arrivals.",
    "evidence": "A trial at 14 harbours with 380 passengers lowers the mean from 52 to 31 minutes.",
    "method": "A booking tool spreads the arrivals of passengers over the day of a harbour.",
    "scope": "Ferry passengers at harbours where long queues waste their time.",
    "limitation": "The trial covers summer months only.",
    "comparison": "It outperforms a plain timetable in the mean waiting time of passengers.",
    "implication": "Harbours can adopt the booking tool without any new staff.",
    "novelty": "Not stated.",
}
PAPER = Paper("id", "1", "", ABSTRACT)


def spoiled(kind: str, seed: int = 0) -> tuple[dict[str, str], str]:
    made = MAKERS[kind](PAPER, dict(MOVES), nanda(), random.Random(seed))
    assert made is not None
    return made


@pytest.mark.parametrize("kind", SUBTLE)
@pytest.mark.parametrize("seed", range(8))
def test_what_was_spoiled_passes_the_gates(kind: str, seed: int) -> None:
    moves, changed = spoiled(kind, seed)
    assert moves != MOVES
    assert changed
    assert gates.find(PAPER, moves, nanda()) == gates.find(PAPER, MOVES, nanda()) == ()


def test_two_stated_moves_are_exchanged() -> None:
    moves, changed = spoiled("moves-swapped")
    one, other = changed.removesuffix(" were exchanged").split(" and ")
    assert (moves[one], moves[other]) == (MOVES[other], MOVES[one])
    assert moves["novelty"] == "Not stated."


def test_a_number_becomes_another_of_the_abstract() -> None:
    moves, changed = spoiled("number-misplaced")
    _, _, numbers = changed.partition(": ")
    before, after = numbers.split(" became ")
    assert before in MOVES["evidence"]
    assert after in ABSTRACT
    assert moves["evidence"] == MOVES["evidence"].replace(before, after, 1)


def test_a_word_becomes_its_opposite() -> None:
    moves, changed = spoiled("meaning-turned", seed=3)
    name = changed.partition(":")[0]
    before, after = changed.split("'")[1::2]
    assert moves[name] == MOVES[name].replace(before, after)


@pytest.mark.parametrize("kind", SUBTLE)
def test_an_annotation_that_gives_none_is_left_alone(kind: str) -> None:
    moves = {**dict.fromkeys(MOVES, "Not stated."), "claim": "Tidewatch is a tool of some use."}
    paper = Paper("id", "1", "", "Tidewatch is a tool of some use, and nothing else is said.")
    assert MAKERS[kind](paper, moves, nanda(), random.Random(0)) is None


def test_they_follow_the_others_and_do_not_change_with_further_items() -> None:
    other = Paper("id", "2", "", f"{ABSTRACT} More of it follows here.")
    few = probes.make([(PAPER, MOVES)], nanda(), 5)
    more = probes.make([(PAPER, MOVES), (other, MOVES)], nanda(), 5)
    assert [p.kind for p in few if p.kind in SUBTLE] == list(SUBTLE)
    assert {(p.kind, p.changed) for p in few} <= {(p.kind, p.changed) for p in more}
