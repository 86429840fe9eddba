"""The passages of an abstract that may replace the draft of a move, and their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import LCSseq

from skills.annotate.extractive.readable import readable
from skills.nanda.quoting.numbered import Sentence
from skills.nanda.quoting.passages import Passage, weak_ends
from skills.nanda.quoting.wording import text_of
from skills.nanda.text import stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = (
    "sentence: log probability by the selector",
    "sentence: recall of the draft",
    "sentence: recall of the draft, less that of the best other sentence",
    "passage: F1 with the draft",
    "passage: recall of the draft",
    "passage: precision against the draft",
    "passage: share of the sentence",
    "passage: words, in twenties",
    "passage: words, in twenties, squared",
    "passage: ends within a clause",
    "passage: begins the sentence",
    "passage: ends the sentence",
    "passage: begins a clause within the sentence",
)
"""What describes a candidate. Recall, precision and F1 are those of ROUGE-L over stemmed words (Lin
2004), each the mean over the drafts; 0 without a draft."""
OF_MOVE = 6
"""Number of the first features, which depend on the move; the others describe the passage."""
FLOOR = 1e-4
"""Least probability of a sentence."""
TWENTY = 20


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of an abstract, the same for each move.

    Attributes:
        passages: all of its passages of at most the framework's length.
        stems: the stemmed words of each.
        fixed: the features after `OF_MOVE`, one row each.
        by_sentence: the stemmed words of each sentence.
        place: the index of the sentence of each passage.
    """

    sentences: tuple[Sentence, ...]
    passages: tuple[Passage, ...]
    stems: tuple[tuple[str, ...], ...]
    fixed: NDArray[Any]
    by_sentence: tuple[tuple[str, ...], ...]
    place: NDArray[Any]

    def features(self, drafts: Sequence[str], likely: Sequence[float]) -> NDArray[Any]:
        """Return the features of each candidate for a move: (candidates, len(FEATURES)).

        Args:
            drafts: what the model wrote for the move, without "Not stated."
            likely: the probability of each sentence, if the move is stated.
        """
        import numpy as np

        found = [stems(draft) for draft in drafts]
        recall = np.array([_similarities(own, found)[1] for own in self.by_sentence])
        others = np.array([max(np.delete(recall, i), default=0.0) for i in range(len(recall))])
        of_sentence = np.stack([np.log(np.maximum(likely, FLOOR)), recall, recall - others], axis=1)
        of_passage = np.array([_similarities(own, found) for own in self.stems])
        return np.concatenate([of_sentence[self.place], of_passage, self.fixed], axis=1)

    def text(self, number: int) -> str:
        """Return the text of a move that quotes this candidate."""
        one = self.passages[number]
        return text_of([self.sentences[one.sentence - 1].quoted(one)])


def candidates_of(sentences: tuple[Sentence, ...], limit: int) -> Candidates:
    """Return the candidates of an abstract, of at most `limit` characters each."""
    import numpy as np

    passages, words, fixed = [], [], []
    by_sentence = tuple(tuple(stems(sentence.text)) for sentence in sentences)
    for number, sentence in enumerate(sentences, start=1):
        by_phrase = [stems(phrase.text) for phrase in sentence.phrases]
        for one in readable(number, sentence.phrases, limit):
            own = tuple(stem for phrase in by_phrase[one.first : one.last] for stem in phrase)
            passages.append(one)
            words.append(own)
            fixed.append(_fixed(one, sentence, len(own), len(by_sentence[number - 1])))
    place = np.array([one.sentence - 1 for one in passages], dtype=int)
    described = np.array(fixed, dtype=float).reshape(len(passages), len(FEATURES) - OF_MOVE)
    return Candidates(sentences, tuple(passages), tuple(words), described, by_sentence, place)


def _fixed(one: Passage, sentence: Sentence, count: int, all_words: int) -> tuple[float, ...]:
    phrases = sentence.phrases
    return (
        count / max(all_words, 1),
        count / TWENTY,
        (count / TWENTY) ** 2,
        weak_ends(one, phrases),
        one.first == 0,
        one.last == len(phrases),
        one.first > 0 and phrases[one.first].begins_clause,
    )


def _similarities(own: Sequence[str], drafts: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Return the mean F1, recall and precision of ROUGE-L against the drafts."""
    if not drafts or not own:
        return 0.0, 0.0, 0.0
    common = [(LCSseq.similarity(own, draft), max(len(draft), 1)) for draft in drafts]
    return (
        sum(2 * shared / (len(own) + length) for shared, length in common) / len(drafts),
        sum(shared / length for shared, length in common) / len(drafts),
        sum(shared / len(own) for shared, _ in common) / len(drafts),
    )
