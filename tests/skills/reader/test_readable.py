"""The passages of a sentence that are complete statements."""

from __future__ import annotations

import pytest

from skills.nanda.passages import phrases_of
from skills.reader.readable import opening, readable

LIMIT = 319


def texts(sentence: str, limit: int = LIMIT) -> list[str]:
    phrases = phrases_of(sentence, limit)
    found = readable(phrases, limit)
    return [" ".join(one.text for one in phrases[p.first : p.last]) for p in found]


def test_a_statement_begins_with_its_sentence_or_after_an_announcement() -> None:
    found = texts("We show that the planner halts on every task, which nobody expected.")
    assert "the planner halts on every task, which nobody expected." in found
    assert all(one.startswith(("We show that", "the planner halts")) for one in found)


def test_a_main_clause_after_an_introduction_stands_alone() -> None:
    found = texts("Unlike prior work on agents, the method needs no model, but it is slow.")
    assert "but it is slow." in found
    assert not any(one.startswith("on agents") for one in found)
    found = texts("Compared with the baseline of last year, DryRun needs no model.")
    assert "DryRun needs no model." in found
    found = texts("To rank planners, this study reads the papers of ICSE 2024, ICSE 2025, and FSE.")
    assert "this study reads the papers of ICSE 2024, ICSE 2025, and FSE." in found
    assert not any(one.startswith("ICSE") for one in found)


@pytest.mark.parametrize("condition", ["if the snapshot agrees", "unless it rains", "except on X"])
def test_what_restricts_a_statement_is_not_cut_off(condition: str) -> None:
    sentence = f"The planner commits every command, {condition}."
    assert texts(sentence) == [sentence]


def test_a_modifier_is_cut_off_only_at_the_end_of_the_sentence() -> None:
    assert texts("The planner of robots, which is new, halts on every task.") == [
        "The planner of robots, which is new, halts on every task."
    ]
    assert texts("Modern planners of robots, such as Calm, halt on tasks.") == [
        "Modern planners of robots, such as Calm, halt on tasks."
    ]
    assert "The planner halts on tasks," in texts("The planner halts on tasks, such as planning.")


def test_what_lacks_the_subject_of_its_sentence_does_not_stand_alone() -> None:
    found = texts("The sums reproduce the reversal, but underestimate its size by a third.")
    assert not any(one.startswith("but underestimate") for one in found)
    for work in ("improving", "using"):
        found = texts(f"Rosters would allow more visits, while {work} the beds of every ward.")
        assert not any(one.startswith("while") for one in found)


def test_another_verb_of_the_announcement_is_not_of_what_it_announces() -> None:
    sentence = "The article argues that the gap harms courts, and proposes a rule of evidence."
    assert texts(sentence) == [
        "The article argues that the gap harms courts,",
        sentence,
        "the gap harms courts,",
    ]


def test_an_enumeration_is_not_cut_before_its_last_item() -> None:
    sentence = (
        "It reads all rulings of the tribunal, the court of Ireland, and the court of appeal."
    )
    assert texts(sentence) == [sentence]
    found = texts("The planner halts on every task, and the agent waits for it.")
    assert "The planner halts on every task," in found


def test_an_introduction_is_no_statement() -> None:
    found = texts("In contrast to earlier work on nurses, the planner halts on every task.")
    assert found == ["In contrast to earlier work on nurses, the planner halts on every task."]


def test_of_a_sentence_longer_than_a_move_one_end_is_that_of_a_statement() -> None:
    sentence = (
        "The planner " + "of the agent that rehearses commands in the snapshot " * 12 + "halts."
    )
    found = texts(sentence)
    assert found
    assert all(len(one) <= LIMIT for one in found)
    assert all(sentence.startswith(one) or sentence.endswith(one) for one in found)


def test_the_passages_of_a_sentence_of_short_phrases_are_few() -> None:
    sentence = " ".join(["and in for by"] * 70)
    assert len(texts(sentence)) <= 2 * len(phrases_of(sentence, LIMIT))


def test_every_sentence_has_a_passage() -> None:
    for sentence in ("Halt.", "- - -", "x" * 2000, "(i) one; (ii) two", "a, " * 300, "我们" * 300):
        assert texts(sentence), sentence


def found(before: str, passage: str) -> tuple[str, str] | None:
    abstract = f"{before} {passage}"
    start = len(before) + 1
    referent = opening(abstract, (start, len(abstract)), [(0, len(before))])
    if referent is None:
        return None
    return abstract[slice(*referent.span)], abstract[slice(*referent.at)]


@pytest.mark.parametrize(
    ("before", "passage", "expected"),
    [
        ("We present DryRun, a planner that waits.", "It needs no model.", ("DryRun", "It")),
        ("A tool called PyNN runs.", "This system is fast.", ("PyNN", "This system")),
        (
            "We propose careful planning (CaP), a framework.",
            "This framework also combines filters.",
            ("CaP", "This framework"),
        ),
        ("This paper introduces GPT-4V for maps.", "It has no memory.", ("GPT-4V", "It")),
        ("Agents fail.", "It needs no model.", None),
        ("We present DryRun and a bench called BashBench.", "It needs no model.", None),
        ("We present DryRun, a planner.", "It, too, waits.", None),
        ("We present DryRun, a planner.", "Italy has no planner.", None),
    ],
)
def test_one_name_that_the_sentence_before_presents_is_the_referent(
    before: str, passage: str, expected: tuple[str, str] | None
) -> None:
    assert found(before, passage) == expected


def test_the_first_sentence_refers_to_nothing() -> None:
    assert opening("It waits.", (0, 9), []) is None
