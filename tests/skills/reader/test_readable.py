"""Statements of a sentence, and the names of pronouns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skills.nanda.passages import numbered
from skills.reader.readable import name_of, opening, statements

LIMIT = 319


def texts(abstract: str, limit: int = LIMIT) -> list[str]:
    (sentence,) = numbered(abstract)
    return [sentence.quoted(one) for one in statements(sentence, limit)]


def test_a_statement_is_the_sentence_or_follows_an_announcement() -> None:
    for announcement in ("We show that", "In this paper, we show that", "The results show that"):
        sentence = f"{announcement} the planner halts on every task."
        assert texts(sentence) == [sentence, "the planner halts on every task."]
    assert texts("We use a planner.") == ["We use a planner."]
    assert texts("RESULTS: We find that it halts.") == ["We find that it halts.", "it halts."]
    assert texts("RESULTS:") == ["RESULTS:"]
    heading = replace(numbered("# " + "word " * 100)[0], heading=101)
    assert [len(heading.quoted(one)) <= LIMIT for one in statements(heading, LIMIT)] == [True]


def test_a_statement_that_the_announcement_may_deny_is_not_cut() -> None:
    for denial in ("We hardly show that the drug works.", "We only show that the drug works."):
        assert texts(denial) == [denial]


def test_another_verb_of_the_announcement_needs_its_subject() -> None:
    sentence = "The article argues that the gap harms courts, and proposes a rule of evidence."
    assert texts(sentence) == [sentence]


def test_a_main_clause_after_an_introduction_is_a_statement() -> None:
    sentence = "Unlike prior work on agents, this method needs no model, but it is slow."
    assert texts(sentence) == [sentence, "this method needs no model, but it is slow."]


@pytest.mark.parametrize(
    "begin",
    [
        "Through a trial",
        "However, if the snapshot agrees",
        "Only when it rains",
        "In mice, if fed daily",
        "We do not find that, in adults",
        "We measure pain and sleep",
    ],
)
def test_a_condition_a_method_and_a_negation_are_not_cut_off(begin: str) -> None:
    sentence = f"{begin}, this drug works."
    assert texts(sentence) == [sentence]


def test_of_a_sentence_longer_than_a_move_the_beginning_is_quoted() -> None:
    sentence = "The planner " + "of the agent rehearses commands, and later " * 12 + "halts."
    (found,) = texts(sentence)
    assert 250 < len(found) <= LIMIT
    assert sentence.startswith(found)
    assert found.endswith("commands,")


def test_a_short_phrase_is_not_the_beginning_of_a_long_sentence() -> None:
    (found,) = texts("However, " + "word " * 150 + "ends.")
    assert len(found) > LIMIT - 10


def test_every_sentence_has_a_statement() -> None:
    for sentence in ("Halt.", "- - -", "x" * 2000, "(i) one; (ii) two", "a, " * 300, "我们" * 300):
        for limit in (LIMIT, 29):  # 29 is the smallest limit of a framework
            assert all(0 < len(one) <= limit for one in texts(sentence, limit)), sentence
            assert texts(sentence, limit), sentence


def test_a_name_ends_before_the_main_clause_and_after_its_brackets() -> None:
    (sentence,) = numbered("Using ten tasks, simple (or not) ones, we halt.")
    assert sentence.quoted(name_of(sentence, 1, 9)) == "ten tasks, simple (or not) ones,"
    assert sentence.quoted(name_of(sentence, 1, 5)) == "ten tasks, simple (or not)"
    (sentence,) = numbered("We measure in vivo changes of mice.")
    assert sentence.quoted(name_of(sentence, 3, 7)) == "in vivo changes of mice."
    (sentence,) = numbered("Using ten tasks (simple ones, we halt.")
    assert sentence.quoted(name_of(sentence, 1, 4)) == "ten tasks (simple"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("We took tweets of 2010 and analyze the mood.", "tweets of 2010"),
        ("It gathers data on care and carefully measures its cost.", "data on care"),
        ("We treat adults who had pain and took a drug.", "adults who had pain and took a drug."),
        ("We treat adults of 2010 and all the nurses.", "adults of 2010 and all the nurses."),
        ("We treat adults with pain and using a drug.", "adults with pain and using a drug."),
        ("We treat adults and nurses in the city.", "adults and nurses in the city."),
        ("We treat adults and especially the old.", "adults and especially the old."),
        (
            "We see anthropocentrically-minded men and measure the error.",
            "anthropocentrically-minded men",
        ),
    ],
)
def test_a_name_ends_before_a_second_predicate(text: str, name: str) -> None:
    (sentence,) = numbered(text)
    assert sentence.quoted(name_of(sentence, 2, len(sentence.words))) == name


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
        ("Sleepiness is common in patients (PD).", "It is a trial.", None),
        ("We develop a model for Parkinson disease (PD).", "It is accurate.", None),
        (
            "We propose a method called DryRun that uses models (LLMs).",
            "It waits.",
            ("DryRun", "It"),
        ),
        ("We present DryRun, a planner.", "This is a trial.", None),
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
