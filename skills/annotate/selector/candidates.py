"""The passages of an abstract that a move may quote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Literal

from harness.models.encoder import visible_bytes
from skills.annotate.selector.noun_phrases import by_word, is_presented, noun_phrases
from skills.annotate.selector.readable import readable
from skills.nanda.framework import Framework
from skills.nanda.quoting.numbered import Sentence
from skills.nanda.quoting.passages import Passage, weak_ends
from skills.nanda.quoting.wording import text_of
from skills.nanda.text import stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (
    "passage: share of the sentence",
    "passage: words, in twenties",
    "passage: words, in twenties, squared",
    "passage: ends within a clause",
    "passage: begins the sentence",
    "passage: ends the sentence",
    "passage: begins a clause within the sentence",
    "passage: is a noun phrase",
)
"""What describes the form of a candidate."""
NAMING = frozenset(["scope"])
"""Moves that name a thing; their candidates are noun phrases."""
PRESENTING = frozenset(["novelty"])
"""Moves whose candidates are statements, and noun phrases that are presented as new. They may so
quote a part of a sentence that another move quotes as a whole."""
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
        bounds: the visible bytes (`encoder.visible_bytes`) of the sentences before each, and up to
            its end.
        shape: `SHAPE` of each, (candidates, len(SHAPE)).
        by_sentence: the stemmed words of each sentence of the abstract.
    """

    kind: Kind
    passages: tuple[Passage, ...]
    sentences: tuple[Sentence, ...]
    stems: tuple[tuple[str, ...], ...]
    bounds: tuple[tuple[int, int], ...]
    shape: NDArray[Any]
    by_sentence: tuple[tuple[str, ...], ...]

    @property
    def place(self) -> NDArray[Any]:
        """The index of the sentence of each passage."""
        import numpy as np

        return np.array([one.sentence - 1 for one in self.passages], dtype=int)

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
            (*self.bounds, *(named.bounds[number] for number in kept)),
            np.concatenate([self.shape, named.shape[kept]]),
            self.by_sentence,
        )


def limit_of(framework: Framework) -> int:
    """Return the maximum characters of a passage: those of a move, less its full stop."""
    return framework.max_chars - 1


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

    kept, words, bounds, shapes = [], [], [], []
    by_phrase = [[stems(phrase.text) for phrase in one.phrases] for one in sentences]
    by_sentence = tuple(tuple(chain.from_iterable(phrases)) for phrases in by_phrase)
    ends = _phrase_ends(sentences)
    for one in passages:
        place = one.sentence - 1
        own = tuple(chain.from_iterable(by_phrase[place][one.first : one.last]))
        kept.append(one)
        words.append(own)
        bounds.append((ends[place][one.first], ends[place][one.last]))
        shape = _shape(one, sentences[place], len(own), len(by_sentence[place]))
        shapes.append((*shape, kind == "noun phrase"))
    return Candidates(
        kind,
        tuple(kept),
        tuple(sentences[one.sentence - 1] for one in kept),
        tuple(words),
        tuple(bounds),
        np.array(shapes, dtype=float).reshape(len(kept), len(SHAPE)),
        by_sentence,
    )


def _phrase_ends(sentences: Sequence[Sentence]) -> list[list[int]]:
    """Return for each sentence the visible bytes of the text before it and up to each phrase."""
    found, end = [], 0
    for sentence in sentences:
        lengths = (visible_bytes(phrase.text) for phrase in sentence.phrases)
        found.append([*accumulate(lengths, initial=end)])
        end = found[-1][-1]
    return found


def _shape(one: Passage, sentence: Sentence, count: int, all_words: int) -> tuple[float, ...]:
    phrases = sentence.phrases
    begins = all(phrase.heading for phrase in phrases[: one.first])
    return (
        count / max(all_words, 1),
        count / TWENTY,
        (count / TWENTY) ** 2,
        weak_ends(one, phrases),
        begins,
        one.last == len(phrases),
        not begins and phrases[one.first].begins_clause,
    )
