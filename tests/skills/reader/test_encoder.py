from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from harness.errors import ModelUnavailable
from harness.settings import CODE_ROOT
from skills.nanda.framework import nanda
from skills.reader import encoder
from skills.reader.encoder import MOST, TITLE, text_of

SHIPPED = CODE_ROOT / "models" / "nanda-annotator" / "reader.onnx"


def test_the_shipped_reader_scores_sentences_and_tokens() -> None:
    loaded = encoder.load(SHIPPED)
    assert loaded.moves == tuple(nanda().names)
    assert loaded.framework["digest"] == nanda().digest
    scores = loaded.read(["We present DryRun.", "It fails in fog."], "Dry runs")
    assert scores.sentence.shape == scores.part.shape == (2, 8)
    assert scores.token.shape == (len(scores.text.ids), 16)
    again = loaded.read(["We present DryRun.", "It fails in fog."], "Dry runs")
    assert np.array_equal(scores.sentence, again.sentence)
    other = loaded.read(["We present DryRun.", "It fails in fog."])
    assert not np.array_equal(scores.sentence, other.sentence), "the title is read"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"{}"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reader.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="is not the file of a reader"):
        encoder.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be read: No such file"):
        encoder.load(tmp_path / "reader.onnx")


WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "we": 3, "wait": 4, ".": 5, "title": 6}


@pytest.fixture
def tokenizer() -> Tokenizer:
    found = Tokenizer(WordLevel(WORDS, "[UNK]"))
    found.pre_tokenizer = Whitespace()
    return found


def test_title_and_sentences_are_separated(tokenizer: Tokenizer) -> None:
    text = text_of(tokenizer, "title", ["we wait.", "we"])
    assert text.ids == (1, 6, 2, 3, 4, 5, 2, 3, 2)
    assert text.sentences == ((3, 6), (7, 8))
    assert text_of(tokenizer, "", ["we"]).ids == (1, 3, 2)


def test_a_passage_has_the_tokens_of_its_characters(tokenizer: Tokenizer) -> None:
    text = text_of(tokenizer, "", ["we wait.", "we wait."])
    assert text.tokens(0, [0], [8]) == ([1], [3])
    found = text.tokens(1, [3, 4], [7, 5])
    assert found == ([6, 6], [6, 6]), "a part of a token is the token"


def test_a_long_text_is_cut_and_its_last_sentences_are_absent(tokenizer: Tokenizer) -> None:
    text = text_of(tokenizer, "title " * 99, ["we " * 400, "wait " * 400, "we"])
    assert len(text.ids) <= MOST
    assert text.sentences == ((TITLE + 2, TITLE + 402), (TITLE + 403, MOST - 1))
    assert text.tokens(1, [1900], [1910]) == ([MOST - 2], [MOST - 2]), "of words that were cut"


def test_a_sentence_without_a_token_has_a_place(tokenizer: Tokenizer) -> None:
    text = text_of(tokenizer, "", [" ", "we"])
    assert text.sentences == ((1, 2), (3, 4))
    assert text.tokens(0, [0], [1]) == ([1], [1])
