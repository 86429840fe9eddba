import pytest

from skills.nanda.quoting.numbered import numbered, prompt_of, span_of
from skills.nanda.quoting.passages import passages_of

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
        for one in passages_of(number, sentence.phrases, 100)
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
