"""The noun phrases of a sentence."""

from __future__ import annotations

import pytest

from skills.annotate.extractive.noun_phrases import LONGEST, SHORTEST, by_word, noun_phrases
from skills.nanda.quoting.numbered import numbered


def texts(sentence: str, limit: int = 300) -> list[str]:
    divided = by_word(numbered(sentence)[0])
    return [divided.quoted(one) for one in noun_phrases(1, divided, limit)]


def test_a_noun_phrase_stands_after_a_preposition_or_at_an_article() -> None:
    found = texts("We report on requirements engineering within small companies in New Zealand.")
    assert found == [
        "requirements engineering within small companies",
        "requirements engineering within small companies in New Zealand.",
        "small companies in New Zealand.",
    ]
    assert texts("We train a small model of nurse rosters.") == ["a small model of nurse rosters."]


def test_it_has_no_verb_outside_a_relative_clause() -> None:
    assert texts("A survey of rural nurses provides new rosters.") == ["A survey of rural nurses"]
    found = texts("We interview the nurses who have used rosters that fail.")
    assert "the nurses who have used rosters that fail." not in found, "ends with a verb"
    assert "the nurses who have used rosters" in found
    assert texts("For nurses we have, the rosters were bad.") == []
    assert texts("Of the patients, 204 patients in wards walked 10 metres.") == []
    assert "patients treated with 10 drugs." in texts(
        "It holds for patients treated with 10 drugs."
    )


def test_a_subject_after_an_introduction_is_no_part_of_it() -> None:
    found = texts("On new tests of rosters in 23 towns, Calm raises the mood of nurses.")
    assert not any("Calm" in one for one in found)
    assert "the mood of nurses." in found
    assert texts("Unlike prior work on wards, Calm helps.") == []


def test_a_relative_clause_has_its_verb() -> None:
    found = texts("We count the cases of one ward in which the nurses were late.")
    assert not any(one.endswith("the nurses") and "which" in one for one in found)


def test_an_infinitive_belongs_to_it() -> None:
    found = texts("We study the ability of nurses to predict the weather.")
    assert "the ability of nurses to predict the weather." in found
    assert not any(one.endswith((" to", "predict")) for one in found)


@pytest.mark.parametrize(
    ("sentence", "excluded"),
    [
        ("We sort trials (with or without nurses) in one hospital ward.", "without nurses)"),
        ("It is bad in terms of the cost.", "terms of the cost."),
        ("Recently, nurses of the ward are tired.", "Recently, nurses of the ward"),
        ("They work in hospitals, clinics, and mobile rural practices.", "hospitals, clinics,"),
        ("It applies to nurses of this ward.", "nurses of this ward."),
    ],
    ids=["bracket", "preposition of two words", "adverb", "enumeration", "reference"],
)
def test_what_is_cut_apart_or_refers_elsewhere_is_excluded(sentence: str, excluded: str) -> None:
    assert excluded not in texts(sentence)


def test_an_enumeration_is_whole() -> None:
    found = texts("They work in hospitals, clinics, and mobile rural practices.")
    assert found == ["hospitals, clinics, and mobile rural practices."]


def test_an_item_of_an_enumeration_is_not_alone() -> None:
    found = texts(
        "We read the cases of the court of England, the court of Ireland, and the tribunal."
    )
    assert not any(one.startswith("the tribunal") or one == "the court of Ireland" for one in found)
    assert not any(
        one.startswith("England,") for one in texts("Of England, and the court of Rome.")
    )
    assert not any("results" in one for one in texts("On the data of nurses and results agree."))


def test_length_is_limited() -> None:
    found = texts("We see " + "nurses of wards in towns with rain " * 40)
    counts = {len(one.split()) for one in found}
    assert min(counts) >= SHORTEST
    assert max(counts) <= LONGEST
    assert all(len(one) <= 40 for one in texts("On " + "hospital wards in " * 20, limit=40))
