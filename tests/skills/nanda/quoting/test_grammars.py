import pytest
from llguidance import LLMatcher, LLTokenizer

from skills.nanda.quoting.grammars import number_grammar, passage_grammar
from skills.nanda.quoting.numbered import numbered

SENTENCES = numbered(
    'It halts in "Rome", but never in May. Nobody waits for approval. It costs 5 | 6 \\ dollars.'
)
TOKENIZER = LLTokenizer("byte")


def accepts(grammar, text):
    matcher, tokens = LLMatcher(TOKENIZER, grammar), TOKENIZER.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    "text",
    [
        ']: It halts in "Rome", but never in May.\n',
        ']: in "Rome", but never\n',
        ",2]: but never in May. | Nobody waits for approval.\n",
        ',3]: It halts in "Rome", | It costs 5 | 6 \\ dollars.\n',
    ],
)
def test_passages_are_accepted(text):
    assert accepts(passage_grammar(SENTENCES, 1, 100), text)


@pytest.mark.parametrize(
    "text",
    [
        "]: It halts in Paris, but never in May.\n",
        ']: halts in "Rome", but never\n',
        "]: but never\n",
        "]: Nobody waits for approval.\n",
        ",1]: but never in May. | but never in May.\n",
        "]:\n",
    ],
)
def test_other_words_and_parts_of_phrases_are_not(text):
    assert not accepts(passage_grammar(SENTENCES, 1, 100), text)


def test_passages_keep_within_the_limit():
    grammar = passage_grammar(SENTENCES, 1, 24)
    assert accepts(grammar, ']: in "Rome", but never\n')
    assert not accepts(grammar, ']: It halts in "Rome", but never in May.\n')


def test_a_sentence_without_blanks_is_quoted():
    sentences = numbered("\u5b57" * 25, 10)
    grammar = passage_grammar(sentences, 1, 10)
    assert accepts(grammar, f"]: {10 * chr(0x5B57)}\n")
    assert not accepts(grammar, f"]: {9 * chr(0x5B57)}\n")


def test_the_passages_of_a_pair_keep_within_the_limit_together():
    text = ",2]: but never in May. | Nobody waits for approval.\n"
    characters = len("but never in May.") + len("Nobody waits for approval.")
    assert accepts(passage_grammar(SENTENCES, 1, characters), text)
    assert not accepts(passage_grammar(SENTENCES, 1, characters - 1), text)


def test_numbers_are_those_of_sentences():
    assert accepts(number_grammar(3), " [3")
    assert not accepts(number_grammar(3), " [4")
    assert accepts(number_grammar(12), " [9")
