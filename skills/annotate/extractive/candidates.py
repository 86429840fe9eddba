"""The passages of an abstract that may replace the draft of a move, and their features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from rapidfuzz.distance import LCSseq

from skills.annotate.extractive.noun_phrases import by_word, is_presented, noun_phrases
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
    "passage: is a noun phrase",
)
"""What describes a candidate. Recall, precision and F1 are those of ROUGE-L over stemmed words (Lin
2004), each the mean over the drafts; 0 without a draft."""
OF_MOVE = 6
"""Number of the first features, which depend on the move; the others describe the passage."""
NAMING = frozenset(["scope"])
"""Moves that name a thing; their candidates are noun phrases."""
PRESENTING = frozenset(["novelty"])
"""Moves whose candidates are statements, and noun phrases that are presented as new. They may so
quote a part of a sentence that another move quotes as a whole."""
FLOOR = 1e-4
"""Least probability of a sentence."""
TWENTY = 20

Kind = Literal["statement", "noun phrase"]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The passages of an abstract that a move may quote.

    Attributes:
        kind: which weights rank them.
        passages: the candidates.
        sentences: the sentence of each, divided into the phrases that the passage counts.
        stems: the stemmed words of each.
        fixed: the features after `OF_MOVE`, one row each.
        by_sentence: the stemmed words of each sentence of the abstract.
    """

    kind: Kind
    passages: tuple[Passage, ...]
    sentences: tuple[Sentence, ...]
    stems: tuple[tuple[str, ...], ...]
    fixed: NDArray[Any]
    by_sentence: tuple[tuple[str, ...], ...]

    @property
    def place(self) -> NDArray[Any]:
        """The index of the sentence of each passage."""
        import numpy as np

        return np.array([one.sentence - 1 for one in self.passages], dtype=int)

    def features(self, drafts: Sequence[str], likely: Sequence[float]) -> NDArray[Any]:
        """Return the features of each candidate for a move: (candidates, len(FEATURES)).

        Args:
            drafts: what the model wrote for the move, without "Not stated."
            likely: the probabilities of "not stated" and of each sentence.
        """
        import numpy as np

        found = [stems(draft) for draft in drafts]
        recall = np.array([_similarities(own, found)[1] for own in self.by_sentence])
        others = np.array([max(np.delete(recall, i), default=0.0) for i in range(len(recall))])
        selected = np.log(np.maximum(_conditional(likely), FLOOR))
        of_sentence = np.stack([selected, recall, recall - others], axis=1)
        of_passage = np.array([_similarities(own, found) for own in self.stems])
        return np.concatenate([of_sentence[self.place], of_passage, self.fixed], axis=1)

    def of_best_sentence(self, likely: NDArray[Any]) -> float:
        """Return the probability of the most probable sentence, from those of the candidates."""
        import numpy as np

        return float(np.bincount(self.place, likely).max())

    def of_sentence(self, number: int, likely: NDArray[Any]) -> float:
        """Return the probability of the sentence of a candidate."""
        return float(likely[self.place == self.place[number]].sum())

    def text(self, number: int) -> str:
        """Return the text of a move that quotes this candidate."""
        return text_of([self.sentences[number].quoted(self.passages[number])])

    def with_presented(self, named: Candidates) -> Candidates:
        """Return these candidates and the noun phrases that are presented as new."""
        import numpy as np

        pairs = enumerate(zip(named.sentences, named.passages, strict=True))
        kept = [number for number, pair in pairs if is_presented(*pair)]
        return Candidates(
            self.kind,
            (*self.passages, *(named.passages[number] for number in kept)),
            (*self.sentences, *(named.sentences[number] for number in kept)),
            (*self.stems, *(named.stems[number] for number in kept)),
            np.concatenate([self.fixed, named.fixed[kept]]),
            self.by_sentence,
        )


def candidates_of(
    moves: Iterable[str], sentences: Sequence[Sentence], limit: int
) -> dict[str, Candidates]:
    """Return the candidates of each move, of at most `limit` characters each.

    Those of a move of `NAMING` are statements if the abstract has no noun phrase.
    """
    statements = statements_of(sentences, limit)
    named = noun_phrases_of(sentences, limit)
    found = dict.fromkeys(moves, statements)
    found.update(dict.fromkeys(PRESENTING & found.keys(), statements.with_presented(named)))
    if named.passages:
        found.update(dict.fromkeys(NAMING & found.keys(), named))
    return found


def statements_of(sentences: Sequence[Sentence], limit: int) -> Candidates:
    """Return the passages that are complete statements, of at most `limit` characters each."""
    found = (
        one
        for number, sentence in enumerate(sentences, start=1)
        for one in readable(number, sentence.phrases, limit)
    )
    return _candidates("statement", sentences, found)


def noun_phrases_of(sentences: Sequence[Sentence], limit: int) -> Candidates:
    """Return the noun phrases, of at most `limit` characters each."""
    divided = [by_word(sentence) for sentence in sentences]
    found = (
        one
        for number, sentence in enumerate(divided, start=1)
        for one in noun_phrases(number, sentence, limit)
    )
    return _candidates("noun phrase", divided, found)


def _candidates(
    kind: Kind, sentences: Sequence[Sentence], passages: Iterable[Passage]
) -> Candidates:
    import numpy as np

    kept, words, fixed = [], [], []
    by_phrase = [[stems(phrase.text) for phrase in one.phrases] for one in sentences]
    by_sentence = tuple(tuple(chain.from_iterable(phrases)) for phrases in by_phrase)
    for one in passages:
        place = one.sentence - 1
        own = tuple(chain.from_iterable(by_phrase[place][one.first : one.last]))
        kept.append(one)
        words.append(own)
        shape = _shape(one, sentences[place], len(own), len(by_sentence[place]))
        fixed.append((*shape, kind == "noun phrase"))
    described = np.array(fixed, dtype=float).reshape(len(kept), len(FEATURES) - OF_MOVE)
    own_sentences = tuple(sentences[one.sentence - 1] for one in kept)
    return Candidates(kind, tuple(kept), own_sentences, tuple(words), described, by_sentence)


def _shape(one: Passage, sentence: Sentence, count: int, all_words: int) -> tuple[float, ...]:
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


def _conditional(likely: Sequence[float]) -> list[float]:
    """Return the probabilities of the sentences if the move is stated."""
    total = sum(likely[1:])
    return [one / total if total else 1 / (len(likely) - 1) for one in likely[1:]]


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
