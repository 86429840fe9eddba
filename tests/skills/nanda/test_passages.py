import pytest

from skills.nanda.passages import Passage, is_quote, numbered, prompt_of, span_of, text_of, trimmed


def test_long_words_are_cut():
    (sentence,) = numbered("It \u662f" + "\u5b57" * 48 + " now")
    assert [end - start for start, end in sentence.words] == [2, 20, 20, 9, 3]
    assert sentence.word(4) == "now"


def test_the_words_of_a_heading_are_counted_like_those_of_its_sentence():
    sentence = numbered("# " + "\u5b57" * 150 + "\nWe halt.")[-1]
    assert sentence.quoted(Passage(sentence.heading, len(sentence.words))) == "We halt."


def test_a_quote_may_begin_with_a_name_in_brackets():
    abstract = "We present DryRun. It halts on tasks, and waits."
    assert is_quote(abstract, "[DryRun] halts on tasks ... We present DryRun.")
    assert not is_quote(abstract, "[DryRun] halts on robots.")


@pytest.mark.parametrize(
    ("passage", "text"),
    [
        ("that the planner halts.", "The planner halts."),
        ("Objective: We study it.", "We study it."),
        ("(3) we adopt it", "We adopt it."),
        ("and, however, it halts,", "It halts."),
        ("in software engineering.", "In software engineering."),
        ("on average 3.2 points", "On average 3.2 points."),
        ("for example, it halts", "For example, it halts."),
        ("so far, nobody waits", "So far, nobody waits."),
        ("than two planners", "Than two planners."),
        ("or more planners halt", "Or more planners halt."),
        ("or by hand", "By hand."),
        ("that of humans", "That of humans."),
        ("that is, it halts", "That is, it halts."),
        ("which of them halts", "Which of them halts."),
        ("however slow it is", "However slow it is."),
        ("-0.71 for the planner", "-0.71 for the planner."),
        (".05 seconds", ".05 seconds."),
        (".NET planners halt", ".NET planners halt."),
        ("- the planner halts", "The planner halts."),
        ("* the planner halts", "The planner halts."),
        ("• the planner halts", "The planner halts."),
        ("2. The planner halts.", "The planner halts."),
        ("2.5 planners halt", "2.5 planners halt."),
        (r"\item[2] the planner halts", "The planner halts."),
        ("## The planner", "The planner."),
        ("**Results:** It halts.", "It halts."),
        ("[Goal] We study it.", "We study it."),
        ("*Low* speed", "*Low* speed."),
        ("Purpose-built planners", "Purpose-built planners."),
        ("mRNA halts", "mRNA halts."),
        ("iPhone-based planners", "iPhone-based planners."),
        ("nobody can do that.", "Nobody can do that."),
        ("it halts (e.g.,", "It halts."),
        ("In Rome, it halts.", "In Rome, it halts."),
        ("However, it halts.", "It halts."),
        ("(by 32 percent compared", "By 32 percent compared."),
        ("(by 32 percent)", "(by 32 percent)."),
        ("(By 32 percent.)", "By 32 percent."),
        ("although it halts, nobody waits", "Although it halts, nobody waits."),
        ("it halts, and", "It halts."),
        ("Does it halt?", "Does it halt."),
        ("and that", "And that."),
    ],
)
def test_passages_are_trimmed_and_end_as_a_sentence(passage, text):
    assert text_of(passage, [trimmed(passage)]) == text


def test_two_passages_are_joined():
    abstract = "It halts, and nobody\nwaits."
    assert text_of(abstract, [(0, 8), (14, 26)]) == "It halts ... nobody waits."


ABSTRACT = "We plan,\n  and <act>\u200b now. It does\u00a0not cover  networks."


def test_sentences_are_numbered_and_sanitized():
    assert (
        prompt_of(numbered(ABSTRACT))
        == "[1] We plan, and < act> now.\n[2] It does not cover networks."
    )


def test_a_span_is_in_the_abstract_as_it_is_stored():
    first, second = numbered(ABSTRACT)
    places = {
        sentence.quoted(one): ABSTRACT[slice(*span_of(one, sentence, ABSTRACT))]
        for sentence, one in (
            (first, Passage(0, len(first.words))),
            (first, Passage(2, len(first.words))),
            (second, Passage(0, len(second.words))),
        )
    }
    assert places == {
        "We plan, and < act> now.": "We plan,\n  and <act>\u200b now",
        "and < act> now.": "<act>\u200b now",
        "It does not cover networks.": "It does\u00a0not cover  networks",
    }


@pytest.mark.parametrize("abstract", ["One sentence", "\n \n", ""])
def test_abstracts_without_an_end_are_numbered(abstract):
    assert len(numbered(abstract)) == bool(abstract.strip())


@pytest.mark.parametrize(
    "notice",
    [
        "\u00a9 2015 Elsevier B.V. All rights reserved.",
        "2013 Elsevier Ltd. All rights reserved.",
        "q 2003 Elsevier Ltd.",
        "& 2014 Published by Elsevier Ltd.",
        "Copyright (copyright) 2009 by the American Psychosomatic Society.",
        "\u00a9 2015 The Authors. Published by Elsevier Ltd.",
        "\u00a9 2015 IEEE.",
        "(c) 2016 APA, all rights reserved",
        "\u00a9 Cambridge University Press 2015.",
        "<<ETX>>",
    ],
)
def test_the_notice_of_a_publisher_is_not_a_sentence(notice):
    assert [one.text for one in numbered(f"It halts. We wait. {notice}")] == [
        "It halts.",
        "We wait.",
    ]


@pytest.mark.parametrize(
    "last",
    [
        "2013 American Heart Association guidelines identify more patients.",
        "We study Ghana (1992), 2000 and 2008 and find that civil society matters.",
        "Copyright law protects this use.",
    ],
)
def test_a_year_and_a_society_are_not_a_notice(last):
    assert [one.text for one in numbered(f"It halts. {last}")] == ["It halts.", last]


def test_a_sentence_without_a_visible_character_has_no_number():
    abstract = "It halts.\n\n\u200b\n\nIt does not."
    assert [one.text for one in numbered(abstract)] == ["It halts.", "It does not."]
