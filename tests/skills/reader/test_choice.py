from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from skills.nanda.passages import numbered
from skills.nanda.quotes import Quote
from skills.reader.choice import assigned, choose
from skills.reader.encoder import Fitted, Scores, Text

MOVES = ("claim", "method", "scope", "novelty")
SENTENCES = (
    "We present DryRun for careful planning by shell agents.",
    "It rehearses each command, because errors are costly.",
    "METHODS: Three models ran 300 tasks.",
    "Success rises by 12%.",
)
ABSTRACT = " ".join(SENTENCES)
FITTED = Fitted((1.0, 0.0), dict.fromkeys(MOVES, 0.5), dict.fromkeys(MOVES, 0.5), 1.0)


def text_of(sentences: Sequence[str]) -> Text:
    """Return a text with a token for each word."""
    places, offsets, ids = [], [], [1]
    for sentence in sentences:
        words, start = [], 0
        for word in sentence.split():
            words.append((start, start + len(word)))
            start += len(word) + 1
        places.append((len(ids), len(ids) + len(words)))
        offsets.append(tuple(words))
        ids += [7] * len(words) + [2]
    return Text(tuple(ids), tuple(places), tuple(offsets))


def quotes(
    best: Mapping[str, Mapping[int, float]],
    unstated: Sequence[str] = (),
    part: Mapping[str, Sequence[int]] | None = None,
    tokens: Mapping[str, tuple[int, int]] | None = None,
    known: Sequence[str] = (),
    longest: int = 480,
) -> dict[str, Quote]:
    """Return the quotes where these sentences, from 0, have these scores, others 0.

    Args:
        part: further sentences of a move.
        tokens: first and last token of a passage.
    """
    text = text_of(SENTENCES)
    sentence, parts = np.zeros((4, 4)), np.full((4, 4), -9.0)
    token, missing = np.zeros((len(text.ids), 8)), np.full(4, -9.0)
    for number, move in enumerate(MOVES):
        for place, score in best.get(move, {}).items():
            sentence[place, number] = score
        for place in (part or {}).get(move, ()):
            parts[place, number] = 9.0
        for half, at in enumerate((tokens or {}).get(move, ())):
            token[at, 4 * half + number] = 9.0
        if move in unstated:
            missing[number] = 20.0
    scores = Scores(text, sentence, parts, missing, token)
    return choose(scores, FITTED, MOVES, ABSTRACT, numbered(ABSTRACT), longest, known)


def test_a_move_quotes_its_most_probable_sentence() -> None:
    found = quotes({"claim": {3: 9.0}, "method": {1: 9.0}})
    assert found["claim"].text == "Success rises by 12%."
    assert [ABSTRACT[slice(*span)] for span in found["claim"].spans] == ["Success rises by 12%"]
    assert found["claim"].confidence > 0.9


def test_a_move_that_is_probably_not_stated_has_no_text() -> None:
    found = quotes({"claim": {3: 9.0}}, unstated=["claim"])
    assert found["claim"].text is None
    assert found["claim"].confidence > 0.9
    assert quotes({"claim": {3: 9.0}}, unstated=["claim"], known=["claim"])["claim"].text


def test_the_confidence_includes_the_probability_that_the_move_is_stated() -> None:
    text, sentence = text_of(SENTENCES), np.zeros((4, 4))
    sentence[3, 0] = 9.0
    missing = np.array([9.0, 20.0, 20.0, 20.0])  # "claim" is stated with a probability of a half
    scores = Scores(text, sentence, np.full((4, 4), -9.0), missing, np.zeros((len(text.ids), 8)))
    found = choose(scores, FITTED, MOVES, ABSTRACT, numbered(ABSTRACT), 480)["claim"]
    assert found.text == "Success rises by 12%."
    assert found.confidence == pytest.approx(0.5, abs=0.01)


def test_a_doubtful_passage_is_a_suggestion() -> None:
    # Each sentence has a probability of 0.25, and no second sentence fits.
    found = quotes({}, longest=60)["claim"]
    assert found.text is None
    assert found.suggestion is not None
    assert found.suggestion.confidence == pytest.approx(0.25)


def test_a_doubtful_move_quotes_the_next_most_probable_sentence() -> None:
    alone = [move for move in MOVES if move != "claim"]
    best = {"claim": {3: 3.0, 1: 2.9, 0: 2.8, 2: 2.7}}
    found = quotes(best, unstated=alone)["claim"]
    assert [ABSTRACT[slice(*span)] for span in found.spans] == [
        SENTENCES[1][:-1],
        SENTENCES[3][:-1],
    ]
    assert found.confidence == pytest.approx(0.55, abs=0.01)


def test_a_doubtful_move_takes_no_sentence_that_another_move_needs() -> None:
    # "claim" is doubtful; its next sentence is 0, which "method" also needs.
    best = {"claim": {3: 0.3, 0: 0.2}, "method": {1: 9.0}, "novelty": {0: 9.0}}
    found = quotes(best, unstated=["scope"], part={"method": [0]})
    assert len(found["method"].spans) == 2
    assert found["claim"].spans[0][0] == ABSTRACT.index(SENTENCES[1])


def claim(sentences: Sequence[str], shares: Sequence[float]) -> Quote:
    """Return the claim of an abstract whose sentences have these probabilities."""
    abstract, text = " ".join(sentences), text_of(sentences)
    score, unlikely = np.log(np.array(shares))[:, None], np.full((len(shares), 1), -9.0)
    scores = Scores(text, score, unlikely, np.full(1, -9.0), np.zeros((len(text.ids), 2)))
    return choose(scores, FITTED, ("claim",), abstract, numbered(abstract), 480)["claim"]


def test_a_doubtful_move_quotes_no_heading() -> None:
    given = "We plan.", "It halts.", "RESULTS.", "It ran.", "It works."
    assert claim(given, [0.28, 0.1, 0.27, 0.2, 0.15]).text == "We plan ... It ran."


def test_spare_sentences_that_do_not_suffice_are_not_suggested() -> None:
    found = claim([f"Plan {number} halts." for number in range(13)], [1 / 13] * 13)
    assert found.suggestion is not None
    assert found.suggestion.text == "Plan 0 halts."


def test_a_doubtful_scope_quotes_no_second_sentence() -> None:
    alone = [move for move in MOVES if move != "scope"]
    assert quotes({}, unstated=alone)["scope"].text is None


def test_a_heading_is_no_part_of_a_passage() -> None:
    assert quotes({"method": {2: 9.0}})["method"].text == "Three models ran 300 tasks."


def test_the_tokens_choose_among_the_passages_of_a_sentence() -> None:
    start = text_of(SENTENCES).sentences[0][0]
    scope = quotes({"scope": {0: 9.0}}, tokens={"scope": (start + 4, start + 8)})["scope"]
    assert scope.text == "Careful planning by shell agents."


def test_a_name_replaces_the_word_that_refers_to_it() -> None:
    found = quotes({"method": {1: 9.0}})["method"]
    assert found.text == "[DryRun] rehearses each command, because errors are costly."
    assert found.referent is not None
    assert found.stands_in(ABSTRACT)


def test_a_move_that_is_spread_quotes_several_passages_in_order() -> None:
    found = quotes({"method": {2: 9.0}}, part={"method": [1]})["method"]
    assert found.text == (
        "[DryRun] rehearses each command, because errors are costly ... Three models ran 300 tasks."
    )
    assert len(found.spans) == 2
    assert found.stands_in(ABSTRACT)


def test_passages_that_would_be_too_long_together_are_not_joined() -> None:
    alone = [move for move in MOVES if move != "claim"]
    case: dict[str, Any] = {
        "best": {"claim": {3: 9.0}},
        "part": {"claim": [0, 2]},
        "unstated": alone,
    }
    last = "Three models ran 300 tasks ... Success rises by 12%."
    assert quotes(**case)["claim"].text == f"{SENTENCES[0].rstrip('.')} ... {last}"
    assert quotes(**case, longest=70)["claim"].text == last


def test_a_move_quotes_three_sentences_at_most() -> None:
    alone = [move for move in MOVES if move != "method"]
    found = quotes({"method": {3: 9.0}}, part={"method": [0, 1, 2]}, unstated=alone)["method"]
    assert len(found.spans) == 3


def test_a_novelty_is_a_whole_statement() -> None:
    start = text_of(SENTENCES).sentences[0][0]
    found = quotes({"novelty": {0: 9.0}}, tokens={"novelty": (start + 2, start + 4)})["novelty"]
    assert found.text == SENTENCES[0]


def test_the_last_word_of_a_name_may_be_labelled_without_its_full_stop() -> None:
    text = text_of(SENTENCES)
    start, after = text.sentences[0]
    offsets = list(text.offsets[0])
    low, high = offsets.pop()  # some tokenizers have a token for the full stop
    offsets += [(low, high - 1), (high - 1, high)]
    sentences = ((start, after + 1), *((one + 1, two + 1) for one, two in text.sentences[1:]))
    split = Text((*text.ids, 7), sentences, (tuple(offsets), *text.offsets[1:]))
    token = np.zeros((len(split.ids), 8))
    token[start + 4, 2], token[after - 1, 6], token[after - 2, 6] = 9.0, 9.0, 8.0
    sentence = np.zeros((4, 4))
    sentence[0, 2] = 9.0
    scores = Scores(split, sentence, np.full((4, 4), -9.0), np.full(4, -9.0), token)
    found = choose(scores, FITTED, MOVES, ABSTRACT, numbered(ABSTRACT), 480)
    assert found["scope"].text == "Careful planning by shell agents."


def test_no_sentence_serves_three_moves_besides_a_name() -> None:
    found = quotes({move: {3: 9.0, 0: 5.0} for move in MOVES})
    places = {
        move: one.spans[0][0] >= ABSTRACT.index("Success")
        for move, one in found.items()
        if one.text
    }
    assert places["scope"]
    assert sum(places.values()) == 3


def test_the_move_that_would_lose_most_keeps_a_sentence_alone() -> None:
    logits = np.log(np.array([[0.9, 0.6], [0.1, 0.4]]))
    moves = ("claim", "method", "novelty")
    assert assigned(logits, [0, 1], moves, repeated=1.0) == {0: 0, 1: 1}
    assert assigned(logits, [0, 1], moves, repeated=0.0) == {0: 0, 1: 0}
    assert assigned(logits, [0, 1], moves, repeated=9.0) == {0: 0, 1: 1}
    assert assigned(np.zeros((1, 3)), [0, 1, 2], moves, repeated=1.0).keys() == {0, 1}
