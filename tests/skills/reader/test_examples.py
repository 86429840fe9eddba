from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from skills.nanda.anchors import Anchor, By
from skills.reader.examples import example_of

ABSTRACT = "RESULTS: Bees dance.  We show\nthat plans calm them."
NAMES = "[UNK] [CLS] [SEP] RESULTS : Bees dance . We show that plans calm them"
WORDS = NAMES.split(" ")


@pytest.fixture
def tokenizer() -> Tokenizer:
    found = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    found.pre_tokenizer = Whitespace()
    return found


def anchor(text: str, by: By = "reviewer") -> Anchor:
    start = ABSTRACT.index(text)
    return {"sentences": [], "spans": [[start, start + len(text)]], "by": by}


def test_a_label_has_its_sentence_and_its_words(tokenizer: Tokenizer) -> None:
    found = example_of(tokenizer, ["claim"], "", ABSTRACT, {"claim": anchor("plans calm")})
    [(place, first, last)] = found.passages[0]
    assert (place, found.stated[0]) == (1, (1,))
    assert [WORDS[one] for one in found.text.ids[first : last + 1]] == ["plans", "calm"]


def test_a_heading_is_not_part_of_a_label(tokenizer: Tokenizer) -> None:
    whole = anchor("RESULTS: Bees dance.")
    [(_, first, _)] = example_of(tokenizer, ["claim"], "", ABSTRACT, {"claim": whole}).passages[0]
    example = example_of(tokenizer, ["claim"], "", ABSTRACT, {"claim": whole})
    assert WORDS[example.text.ids[first]] == "Bees"


def test_common_words_give_sentences_only(tokenizer: Tokenizer) -> None:
    given = {"claim": anchor("We show", "lexical"), "scope": None}
    found = example_of(tokenizer, ["claim", "scope", "method"], "", ABSTRACT, given)
    assert found.stated == {0: (1,), 1: ()}, "a move without a label is absent"
    assert found.passages == {}


def test_a_passage_of_two_sentences_labels_both(tokenizer: Tokenizer) -> None:
    given = {"claim": anchor("dance.  We show\nthat")}
    found = example_of(tokenizer, ["claim"], "", ABSTRACT, given)
    assert found.stated[0] == (0, 1)
    words = [
        WORDS[one]
        for _, first, last in found.passages[0]
        for one in found.text.ids[first : last + 1]
    ]
    assert " ".join(words) == "dance . We show that"
