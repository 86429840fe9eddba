"""Probes: each kind is made as described, and the gates find all but the subtle kinds."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from repository import SHARED

from skills.curate.gates import PHRASE, find, phrases
from skills.curate.items import Item
from skills.curate.probes import KINDS, SUBTLE, Annotation, make
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.text import words
from skills.nanda.unsupported import unsupported_numbers

GOLD = SHARED / "gold_dev.csv"
NANDA = nanda()
FILLER = phrases()["filler"]
TOOLS = ("Kiln", "Loom", "Anvil", "Sieve", "Lathe", "Bellows", "Plumb", "Trowel", "Chisel", "Gauge")


def item(number: int, tool: str) -> Annotation:
    abstract = (
        f"Maintainers of large programs lose hours to faults that {tool} finds. We present {tool}, "
        f"which reads {number + 41},300 commits of {number + 3} programs and ranks their lines by "
        f"risk. It finds {60 + number}.5% of the faults, against {30 + number}% for a linter. "
        "A study with maintainers shows that they accept the ranking. The tool is limited to "
        "programs with tests. It saves maintainers work and lets small projects keep up."
    )
    moves = {
        "claim": f"{tool} finds the faults of large programs by ranking lines by their risk.",
        "evidence": f"It finds {60 + number}.5% of the faults of {number + 3} programs.",
        "method": f"The tool reads {number + 41},300 commits and ranks the lines by risk.",
        "scope": "Large programs with tests, and the hours of their maintainers.",
        "limitation": "Programs without tests are out of reach of the tool.",
        "comparison": f"A linter finds {30 + number}% of the faults of the same programs.",
        "implication": "Small projects can keep up, since maintainers save work.",
        "novelty": "A ranking of lines by risk that maintainers accept in a study.",
    }
    return Paper("id", tool, "", abstract), moves


NOTHING = dict.fromkeys(NANDA.names, NANDA.not_stated)
ITEMS = [item(number, tool) for number, tool in enumerate(TOOLS)]


def of_kind(kind: str, items: Sequence[Annotation] = ITEMS, seed: int = 0) -> list[Item]:
    return [probe for probe in make(items, NANDA, 99, seed) if probe.probe == kind]


def plain(items: Sequence[Annotation], per_kind: int, seed: int = 0) -> list[Item]:
    return [probe for probe in make(items, NANDA, per_kind, seed) if probe.probe in KINDS]


def given(probe: Item) -> dict[str, str]:
    return next(dict(moves) for paper, moves in ITEMS if paper == probe.paper)


def changes(probe: Item) -> dict[str, str]:
    return {move: text for move, text in probe.moves.items() if text != given(probe)[move]}


def test_the_items_are_good_and_give_one_probe_of_each_kind() -> None:
    assert [find(paper, moves, NANDA) for paper, moves in ITEMS] == [()] * len(ITEMS)
    probes = plain(ITEMS, 99)
    assert Counter(probe.probe for probe in probes) == dict.fromkeys(KINDS, len(ITEMS))
    assert list(dict.fromkeys(probe.probe for probe in probes)) == list(KINDS)
    assert all(tuple(probe.moves) == NANDA.names for probe in probes)
    for seed in range(4):
        few = plain(ITEMS, 4, seed)
        assert Counter(probe.probe for probe in few) == dict.fromkeys(KINDS, 4)
        assert len(plain(ITEMS, 99, seed)) == len(KINDS) * len(ITEMS)


def test_another_papers_moves() -> None:
    for probe in of_kind("other-paper"):
        owners = [paper for paper, moves in ITEMS if moves == probe.moves]
        assert len(owners) == 1
        assert owners != [probe.paper]
    assert of_kind("other-paper", ITEMS[:1]) == []
    again = (Paper("id", "again", "", ITEMS[0][0].abstract), dict(ITEMS[1][1]))
    assert of_kind("other-paper", [ITEMS[0], again]) == [], "the same abstract is no other paper"


def test_one_number_is_changed_to_a_near_one() -> None:
    for probe in of_kind("number-changed"):
        ((move, text),) = changes(probe).items()
        assert len(unsupported_numbers(probe.paper.abstract, text)) == 1
        before, after = given(probe)[move].split(), text.split()
        ((old, new),) = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        assert probe.changed == f"{move}: {old.rstrip('%')} became {new.rstrip('%')}"
        value, changed = (float(word.rstrip("%").replace(",", "")) for word in (old, new))
        assert abs(value - changed) <= max(3, value / 3)
        assert [char for char in old if not char.isdigit()] == [
            char for char in new if not char.isdigit()
        ]
        if "%" in old:
            assert changed <= 100


def test_numbers_in_names_are_not_changed() -> None:
    paper, moves = ITEMS[0]
    wordy = dict.fromkeys(moves, "GPT-4 and Llama-3.1-8B read TLS/1.3 lines of programs.")
    assert of_kind("number-changed", [(paper, wordy)]) == []
    assert of_kind("number-changed", [(paper, dict.fromkeys(moves, "Not stated."))]) == []


def test_a_changed_number_keeps_its_format() -> None:
    paper = ITEMS[0][0]
    for shown in ("0.001", "1", "7" * 30, "1" * 30 + ".5", "12,345,678", "100%", "0", "1.0"):
        (probe,) = of_kind("number-changed", [(paper, {**NOTHING, "claim": f"It is {shown} now."})])
        new = probe.moves["claim"].removeprefix("It is ").removesuffix(" now.")
        assert [c for c in new if not c.isdigit()] == [c for c in shown if not c.isdigit()]
        assert new != shown
        if shown in ("100%", "1.0"):
            assert float(new.rstrip("%")) < float(shown.rstrip("%")), "no share is over the whole"
    assert of_kind("number-changed", [(paper, {"claim": f"It is {'7' * 9999} now."})]) == []


def test_a_number_without_free_neighbours_is_not_changed() -> None:
    crowded = Paper("id", "crowded", "", "We count 1, 2, 3, 4, 5, six and seven.")
    assert of_kind("number-changed", [(crowded, {"claim": "It counts 4."})]) == []


def test_one_stated_move_is_emptied() -> None:
    sparse = [(p, {**m, "limitation": "Not stated.", "scope": ""}) for p, m in ITEMS]
    for probe in of_kind("move-emptied", sparse):
        ((move, text),) = {
            move: text
            for move, text in changes(probe).items()
            if move not in ("limitation", "scope")
        }.items()
        assert text == ""
        assert probe.changed == f"{move} was emptied"


def test_a_copy_has_the_words_of_the_abstract() -> None:
    for probe in of_kind("copied"):
        assert all(text in probe.paper.abstract for text in probe.moves.values())
        assert all(0 < len(text) <= NANDA.max_chars for text in probe.moves.values())
        places = [probe.paper.abstract.index(text) for text in probe.moves.values()]
        assert places == sorted(set(places)), "pieces in the order of the abstract"


def test_a_copy_cuts_a_sentence_that_is_longer_than_a_move() -> None:
    paper = Paper("id", "long", "", " ".join(f"word{number}" for number in range(200)))
    (probe,) = of_kind("copied", [(paper, {"claim": "One claim.", "method": "One method."})])
    assert [move for move, text in probe.moves.items() if text] == ["claim", "method"]
    assert all(len(text) <= NANDA.max_chars for text in probe.moves.values())
    unbroken = Paper("id", "unbroken", "", "x" * 900)
    (probe,) = of_kind("copied", [(unbroken, {"claim": "One claim."})])
    assert 0 < len(probe.moves["claim"]) <= NANDA.max_chars
    assert of_kind("copied", [(Paper("id", "none", "", ""), {"claim": "One claim."})]) == []


def test_padding_follows_every_stated_move_and_differs() -> None:
    sparse = [(p, {**m, "limitation": "Not mentioned"}) for p, m in ITEMS]
    seen = set()
    for probe in of_kind("padded", sparse):
        assert probe.moves["limitation"] == "Not stated."
        added = {
            text.removeprefix(given(probe)[move].rstrip("."))
            for move, text in probe.moves.items()
            if move != "limitation"
        }
        assert len(added) == 7
        assert all(clause.strip(" ,.") in FILLER for clause in added)
        assert probe.changed == "filler at the end of 7 moves"
        assert all(len(text) <= NANDA.max_chars for text in probe.moves.values())
        seen |= added
    assert len(seen) > len(FILLER) / 2


def test_padding_keeps_within_the_length_of_a_move() -> None:
    paper, moves = ITEMS[0]
    full = "Risky lines " + "x" * (NANDA.max_chars - 20)
    nearly = "Risky lines " + "x" * (NANDA.max_chars - 12 - max(map(len, FILLER)))
    (probe,) = of_kind("padded", [(paper, {**moves, "claim": full, "scope": nearly})])
    assert probe.moves["claim"] == full
    assert probe.moves["scope"] != nearly
    assert max(map(len, probe.moves.values())) <= NANDA.max_chars
    assert of_kind("padded", [(paper, dict.fromkeys(moves, full))]) == []


def test_probes_depend_on_the_seed() -> None:
    assert make(ITEMS, NANDA, 5) == make(ITEMS, NANDA, 5)
    assert make(list(reversed(ITEMS)), NANDA, 5) == make(ITEMS, NANDA, 5)
    assert make(ITEMS, NANDA, 5, seed=1) != make(ITEMS, NANDA, 5)


def test_more_annotations_replace_probes_and_change_none() -> None:
    few = [probe for probe in make(ITEMS[:6], NANDA, 99) if probe.probe != "other-paper"]
    many = make(ITEMS, NANDA, 99)
    assert all(probe in many for probe in few)
    assert [probe for probe in many if probe in few] == few, "and they keep their order"


def test_an_abstract_that_comes_twice_counts_once() -> None:
    paper, moves = ITEMS[0]
    again = (replace(paper, id="again"), {**moves, "scope": "Other."})
    assert make([*ITEMS, again], NANDA, 99) == make(ITEMS, NANDA, 99)


def test_a_probe_equal_to_its_annotation_is_left_out() -> None:
    (paper, moves), (other, _) = ITEMS[:2]
    assert of_kind("other-paper", [(paper, moves), (other, moves)]) == []


def test_nothing_gives_nothing() -> None:
    assert make([], NANDA, 5) == []
    assert make(ITEMS, NANDA, 0) == []
    assert make([(ITEMS[0][0], {})], NANDA, 5) == []


def test_the_gates_do_not_contain_the_filler() -> None:
    clauses = [" ".join(words(clause)) for clause in FILLER]
    assert len(set(clauses)) == len(FILLER) >= 40
    for phrase in phrases()["stock"]:
        assert not any(f" {phrase} " in f" {clause} " for clause in clauses)
    runs = [
        " ".join(tokens[i : i + PHRASE])
        for clause in clauses
        for tokens in [clause.split()]
        for i in range(len(tokens) - PHRASE + 1)
    ]
    assert len(set(runs)) == len(runs), "no two clauses share a phrase"


# Kinds of probes that no gate can find

FERRY = Paper(
    "id",
    "ferry",
    "",
    "Long queues waste the time of ferry passengers. We present Tidewatch, a booking tool that "
    "spreads arrivals over the day. In a trial at 14 harbours with 380 passengers, it reduces the "
    "mean waiting time from 52 to 31 minutes, and outperforms a plain timetable. The trial covers "
    "summer months only. Harbours can adopt it without new staff.",
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


def subtle(kind: str, seed: int = 0) -> Item:
    (probe,) = of_kind(kind, [(FERRY, MOVES)], seed)
    return probe


@pytest.mark.parametrize("kind", SUBTLE)
@pytest.mark.parametrize("seed", range(8))
def test_subtle_probes_pass_the_gates(kind: str, seed: int) -> None:
    probe = subtle(kind, seed)
    assert probe.moves != MOVES
    assert probe.changed
    assert probe.findings == find(FERRY, MOVES, NANDA) == ()


def test_two_stated_moves_are_exchanged() -> None:
    probe = subtle("moves-swapped")
    one, other = probe.changed.removesuffix(" were exchanged").split(" and ")
    assert (probe.moves[one], probe.moves[other]) == (MOVES[other], MOVES[one])
    assert probe.moves["novelty"] == "Not stated."


def test_a_number_becomes_another_of_the_abstract() -> None:
    probe = subtle("number-misplaced")
    before, after = probe.changed.partition(": ")[2].split(" became ")
    assert before in MOVES["evidence"]
    assert after in FERRY.abstract
    assert probe.moves["evidence"] == MOVES["evidence"].replace(before, after, 1)


def test_a_word_becomes_its_opposite() -> None:
    probe = subtle("meaning-turned", seed=3)
    name = probe.changed.partition(":")[0]
    before, after = probe.changed.split("'")[1::2]
    assert probe.moves[name] == MOVES[name].replace(before, after)


@pytest.mark.parametrize("kind", SUBTLE)
def test_no_subtle_probe_of_an_annotation_that_gives_none(kind: str) -> None:
    moves = {**dict.fromkeys(MOVES, "Not stated."), "claim": "Tidewatch is a tool of some use."}
    paper = Paper("id", "1", "", "Tidewatch is a tool of some use, and nothing else is said.")
    assert of_kind(kind, [(paper, moves)]) == []


def test_subtle_probes_come_last() -> None:
    found = [probe.probe for probe in make([(FERRY, MOVES)], NANDA, 5)]
    assert [kind for kind in found if kind in SUBTLE] == list(SUBTLE) == found[-3:]


# The gates


@pytest.mark.parametrize("kind", KINDS)
def test_the_gates_find_probes_of_every_kind(kind: str) -> None:
    assert all(find(probe.paper, probe.moves, NANDA) for probe in of_kind(kind))


@pytest.mark.skipif(not GOLD.exists(), reason="the gold data of ../shared is missing")
def test_the_gates_find_the_probes_of_the_gold() -> None:
    with GOLD.open(encoding="utf-8") as file:
        items = [
            (Paper("id", row["arxiv_id"], "", row["abstract"]), row) for row in csv.DictReader(file)
        ]
    probes = plain(items, 60)
    made = Counter(probe.probe for probe in probes)
    found = Counter(probe.probe for probe in probes if find(probe.paper, probe.moves, NANDA))
    assert all(made[kind] >= 25 for kind in KINDS)
    assert found.total() / made.total() >= 0.95
    assert all(found[kind] / made[kind] >= 0.95 for kind in KINDS)
