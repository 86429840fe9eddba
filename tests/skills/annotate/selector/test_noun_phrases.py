"""The noun phrases of a sentence."""

from __future__ import annotations

import pytest

from skills.annotate.selector.noun_phrases import (
    LONGEST,
    SHORTEST,
    by_word,
    is_presented,
    noun_phrases,
)
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


def test_it_ends_before_the_verb_of_its_relative_clauses_subject() -> None:
    found = texts("Nurses that provide a roster often issue it.")
    assert "Nurses that provide a roster" in found
    assert not any("often" in one for one in found)
    assert "Nurses that provide a roster" in texts("Nurses that provide a roster should issue it.")


def test_a_comparison_may_be_within_it() -> None:
    assert "wards of more than 20 nurses." in texts("It holds in wards of more than 20 nurses.")
    assert not any(one.endswith("than") for one in texts("We know of a ward larger than 20 beds."))


@pytest.mark.parametrize(
    ("sentence", "presented"),
    [
        ("We introduce a roster that calms nurses.", {"a roster that calms nurses."}),
        ("It seems to be the first roster of calm nurses.", {"the first roster of calm nurses."}),
        ("The market offers a roster that calms nurses.", set()),
        ("Two were made by design: a roster that calms nurses.", set()),
        ("It is due to the flood of new rosters.", set()),
        ("We propose a new roster.", set()),
    ],
    ids=["made", "new", "another's", "after a colon", "of what is new", "too short"],
)
def test_what_is_presented_as_new(sentence: str, presented: set[str]) -> None:
    divided = by_word(numbered(sentence)[0])
    found = [one for one in noun_phrases(1, divided, 300) if is_presented(divided, one)]
    assert {divided.quoted(one) for one in found} == presented


def test_what_results_in_something_is_a_statement() -> None:
    found = texts("Late nurses of busy wards result in tired patients of a ward.")
    assert found == ["Late nurses of busy wards", "tired patients of a ward."]
    assert "a result in logic of 2020." in texts("It is due to a result in logic of 2020.")


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
        ("We read, between 2009 and 2014, of late nurses.", "2009 and 2014, of late nurses."),
    ],
    ids=["bracket", "preposition of two words", "adverb", "enumeration", "reference", "years"],
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


def test_a_name_is_whole() -> None:
    found = texts("We read rulings of the Court of Appeal of England on late nurses.")
    assert "the Court of Appeal of England" in found
    assert not any(one.startswith(("Appeal", "England")) for one in found)
    assert "Victoria in Australia." in texts("Nurses of Victoria in Australia.")


def test_a_participle_after_a_comma_may_describe_another_noun() -> None:
    found = texts("It has 18 papers on the topic, published or accepted by two journals.")
    assert not any("published" in one for one in found)
    whole = "Papers on the topic, published by two journals."
    assert whole in texts(whole)


def test_length_is_limited() -> None:
    found = texts("We see " + "nurses of wards in towns with rain " * 40)
    counts = {len(one.split()) for one in found}
    assert min(counts) >= SHORTEST
    assert max(counts) <= LONGEST
    assert all(len(one) <= 40 for one in texts("On " + "hospital wards in " * 20, limit=40))
