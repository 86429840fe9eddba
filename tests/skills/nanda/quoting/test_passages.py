from skills.nanda.quoting.passages import Passage, passages_of, phrases_of


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
    assert list(passages_of(3, phrases, 100)) == [
        Passage(3, 0, 2),
        Passage(3, 0, 3),
        Passage(3, 0, 4),
        Passage(3, 1, 3),
        Passage(3, 1, 4),
        Passage(3, 2, 4),
    ]
    assert list(passages_of(1, phrases_of("It halts."), 100)) == [Passage(1, 0, 1)]


def test_passages_have_at_most_the_given_characters():
    phrases = phrases_of("It halts in Rome, but never in May.")
    assert list(passages_of(1, phrases, 17)) == [Passage(1, 0, 2), Passage(1, 2, 4)]


def test_a_sentence_without_blanks_has_passages():
    phrases = phrases_of("\u5b57" * 25, 10)
    assert list(passages_of(1, phrases, 10)) == [Passage(1, n, n + 1) for n in range(3)]
