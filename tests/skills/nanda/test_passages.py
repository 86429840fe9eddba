import pytest

from skills.nanda.passages import (
    Passage,
    numbered,
    passages_of,
    phrases_of,
    prompt_of,
    span_of,
    text_of,
)


def texts(sentence):
    return [phrase.text for phrase in phrases_of(sentence)]


def test_phrases_end_at_punctuation_and_before_prepositions_and_clauses():
    assert texts("RuleBank sorts papers, which takes hours by hand, in 12 seconds.") == [
        "RuleBank sorts papers,",
        "which takes hours",
        "by hand,",
        "in 12 seconds.",
    ]


def test_an_announcement_is_a_phrase():
    assert texts("In this paper, we show that the planner halts.") == [
        "In this paper, we show that",
        "the planner halts.",
    ]
    assert texts("The results show that it halts.")[0] == "The results show that"
    assert texts("We use a planner.") == ["We use a planner."]


def test_prepositions_do_not_begin_a_clause():
    assert [phrase.begins_clause for phrase in phrases_of("It halts in Rome, but not in May.")] == [
        *(True, False),
        *(True, False),
    ]


def test_joined_phrases_are_the_sentence():
    sentence = "(a) It - the planner - halts; however, (in May) it does not."
    assert " ".join(texts(sentence)) == sentence


def test_what_another_clause_may_deny_is_no_phrase():
    for denial in (
        "It is unlikely that the drug works.",
        "Nobody knows which of the drugs works.",
        "We hardly show that the drug works.",
    ):
        assert texts(denial) == [denial]
    assert texts("We clearly show that the drug works.")[1] == "the drug works."


def test_brackets_and_quotes_behind_punctuation_end_a_phrase():
    assert texts('It (the drug)" works,\u201d too "now" and') == [
        *("It", '(the drug)"', "works,\u201d", 'too "now"', "and")
    ]


def test_long_phrases_are_cut():
    assert [phrase.text for phrase in phrases_of("one two three four", 9)] == [
        *("one two", "three", "four")
    ]
    first, second, third, fourth = phrases_of("It \u662f" + "\u5b57" * 24 + " now", 10)
    assert (first.text, second.text, third.text) == ("It", "\u662f" + "\u5b57" * 9, "\u5b57" * 10)
    assert fourth.text == "\u5b57" * 5 + " now"
    assert not second.begins_clause


def test_passages_have_four_words_or_the_whole_sentence():
    phrases = phrases_of("It halts in Rome, but never in May.")
    assert list(passages_of(phrases, 100)) == [
        Passage(0, 2),
        Passage(0, 3),
        Passage(0, 4),
        Passage(1, 3),
        Passage(1, 4),
        Passage(2, 4),
    ]
    assert list(passages_of(phrases_of("It halts."), 100)) == [Passage(0, 1)]


def test_passages_have_at_most_the_given_characters():
    phrases = phrases_of("It halts in Rome, but never in May.")
    assert list(passages_of(phrases, 17)) == [Passage(0, 2), Passage(2, 4)]


def test_a_sentence_without_blanks_has_passages():
    phrases = phrases_of("\u5b57" * 25, 10)
    assert list(passages_of(phrases, 10)) == [Passage(n, n + 1) for n in range(3)]


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
        ("although it halts, nobody waits", "Although it halts, nobody waits."),
        ("it halts, and", "It halts."),
        ("Does it halt?", "Does it halt."),
        ("and that", "And that."),
    ],
)
def test_passages_are_trimmed_and_end_as_a_sentence(passage, text):
    assert text_of([passage]) == text


def test_two_passages_are_joined():
    assert text_of(["It halts,", "and nobody waits."]) == "It halts ... nobody waits."


ABSTRACT = "We plan,\n  and <act>\u200b now. It does\u00a0not cover  networks."


def test_sentences_are_numbered_and_sanitized():
    assert (
        prompt_of(numbered(ABSTRACT))
        == "[1] We plan, and < act> now.\n[2] It does not cover networks."
    )


def test_a_span_is_in_the_abstract_as_it_is_stored():
    sentences = numbered(ABSTRACT)
    places = {
        sentence.quoted(one): ABSTRACT[slice(*span_of(one, sentence, ABSTRACT))]
        for number, sentence in enumerate(sentences, start=1)
        for one in passages_of(sentence.phrases, 100)
    }
    assert places == {
        "We plan, and < act> now.": "We plan,\n  and <act>\u200b now",
        "and < act> now.": "<act>\u200b now",
        "It does not cover networks.": "It does\u00a0not cover  networks",
    }


@pytest.mark.parametrize("abstract", ["One sentence", "\n \n", ""])
def test_abstracts_without_an_end_are_numbered(abstract):
    assert len(numbered(abstract)) == bool(abstract.strip())


def test_a_sentence_without_a_visible_character_has_no_number():
    abstract = "It halts.\n\n\u200b\n\nIt does not."
    assert [one.text for one in numbered(abstract)] == ["It halts.", "It does not."]


def test_a_prompt_needs_no_phrases():
    (sentence,) = numbered("It halts.")
    assert prompt_of([sentence]) == "[1] It halts."
    assert "phrases" not in vars(sentence)
