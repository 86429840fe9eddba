"""Choose the passages of an abstract that state its moves, by the scores of the encoder.

A move is stated if its probability reaches the threshold `Fitted.stated`. Each stated move gets a
sentence. At most two moves get the same sentence, and its score for the second move is reduced by
`Fitted.repeated`. The move that would lose most without its best sentence chooses first. All moves
choose again until the choices no longer change.

The passage runs from the most probable first word to the most probable last word of the sentence,
if it is readable alone (`readable`); otherwise it is the whole sentence. Other sentences that also
state the move (`Fitted.part`) are quoted too, up to `MOST` passages. A move that names its content
in a few words (`NAMING`) has one passage.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Any

from skills.nanda.confidence import SUGGESTED
from skills.nanda.forms import Quote
from skills.nanda.passages import Passage, Sentence, span_of, text_of
from skills.reader.readable import opening, readable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skills.reader.encoder import Fitted, Scores

VERSION = 1
"""Version of the choice, increased when the same scores lead to other passages."""
MOST = 3
"""Maximum number of passages of a move."""
NAMING = frozenset(["scope"])
"""Moves whose content is named in a few words of a sentence."""
PRESENTING = frozenset(["novelty"])
"""Moves whose passage is a name, as in `NAMING`, or a whole statement."""
SHORTEST, LONGEST = 3, 24
"""Minimum and maximum number of words of a name."""
FULL, WORD = 8, 0.2
"""Maximum number of words for which the score of a name increases, and the increase in log odds.

Without the increase, the most probable passage is often a bare noun ("416 students"), shorter than
the labels.
"""
SHARED = 2
"""Maximum number of moves that get the same sentence."""


def choose(
    scores: Scores,
    fitted: Fitted,
    moves: Sequence[str],
    abstract: str,
    sentences: Sequence[Sentence],
    limit: int,
    known: Collection[str] = (),
) -> dict[str, Quote]:
    """Return the quote of each move, by name.

    Args:
        moves: names of the moves, in the order of the scores.
        sentences: the sentences of the abstract.
        limit: maximum number of characters of a move.
        known: names of the moves that the abstract is known to state.
    """
    import numpy as np

    logits, stated = log_shares(scores), stated_shares(scores)
    wanted = [
        number
        for number, move in enumerate(moves)
        if move in known or stated[number] >= fitted.stated[move]
    ]
    best = assigned(logits, wanted, fitted.repeated)
    served = Counter(best.values())
    found = {}
    for number, move in enumerate(moves):
        unstated = round(float(1 - stated[number]), 4)
        if number not in best:
            found[move] = Quote(confidence=unstated)
            continue
        places = [best[number]]
        if move not in NAMING | PRESENTING:
            shares = _sigmoid(scores.part[:, number])
            order = sorted(range(len(shares)), key=lambda at: -shares[at])
            least = fitted.part[move]
            places += [at for at in order if at != best[number] and shares[at] >= least]
        places = places[:1] + [one for one in places[1:] if served[one] < SHARED]
        placed = [_passage(scores, number, move, at, sentences, limit) for at in places[:MOST]]
        placed = _fitting(placed, limit)
        served.update(one.place for one in placed if one.place != best[number])
        probability = float(np.exp(logits[[one.place for one in placed], number]).sum())
        confidence = round(calibrated(probability, *fitted.confidence), 4)
        if confidence < SUGGESTED and move not in known:
            quote = _quote(placed, abstract, (), limit, confidence)
            found[move] = Quote(confidence=unstated, suggestion=quote)
        else:
            found[move] = _quote(placed, abstract, sentences, limit, confidence)
    return found


def log_shares(scores: Scores) -> NDArray[Any]:
    """Return the log probability of each sentence, given that the move is stated.

    The shape is (sentences, moves).
    """
    import numpy as np

    return np.asarray(scores.sentence - np.logaddexp.reduce(scores.sentence, axis=0))


def stated_shares(scores: Scores) -> NDArray[Any]:
    """Return the probability that each move is stated, (moves,)."""
    import numpy as np

    return np.asarray(_sigmoid(np.logaddexp.reduce(scores.sentence, axis=0) - scores.unstated))


def assigned(logits: NDArray[Any], wanted: Sequence[int], repeated: float) -> dict[int, int]:
    """Return the sentence that each wanted move gets: indices of sentences by indices of moves.

    A move is left out if all sentences already belong to `SHARED` other moves.

    Args:
        logits: log probability of each sentence, (sentences, moves).
        wanted: indices of the stated moves.
        repeated: reduction of the log probability of a sentence for a second move.
    """
    import numpy as np

    def regret(move: int) -> float:
        ordered = np.sort(logits[:, move])
        return float(ordered[-1] - ordered[-2]) if len(ordered) > 1 else math.inf

    order = sorted(wanted, key=regret, reverse=True)
    chosen: dict[int, int] = {}
    for _ in range(len(order)):
        before = dict(chosen)
        for move in order:
            uses = Counter(place for other, place in chosen.items() if other != move)
            costs = [
                repeated * uses[i] if uses[i] < SHARED else math.inf for i in range(len(logits))
            ]
            left = logits[:, move] - np.array(costs)
            if np.isfinite(left).any():
                chosen[move] = int(left.argmax())
            else:
                chosen.pop(move, None)
        if chosen == before:
            break
    return chosen


def calibrated(probability: float, slope: float, intercept: float) -> float:
    """Return the probability that a decision is right, given the probability of the network."""
    bounded = min(max(probability, 1e-4), 1 - 1e-4)
    return float(_sigmoid(slope * math.log(bounded / (1 - bounded)) + intercept))


@dataclass(frozen=True, slots=True)
class _Placed:
    """A passage and its sentence.

    Attributes:
        place: the index of the sentence in the abstract.
        sentence: the sentence, divided into the phrases that `passage` refers to.
    """

    place: int
    passage: Passage
    sentence: Sentence

    @property
    def text(self) -> str:
        return self.sentence.quoted(self.passage)


def _passage(
    scores: Scores, number: int, move: str, place: int, sentences: Sequence[Sentence], limit: int
) -> _Placed:
    """Return the passage of a sentence that states a move.

    The passage runs from the most probable first word to the most probable last word, if it is
    readable alone. Otherwise it is the whole sentence without its heading.

    Args:
        number: the index of the move in the scores.
        place: the index of the sentence.
    """
    sentence, words = sentences[place], sentences[place].by_word
    first, last = _likeliest(scores, number, place, words, named=move in NAMING)
    found = _Placed(place, Passage(first, last), words)
    names = move in NAMING or (move in PRESENTING and first > sentence.heading)
    if names and SHORTEST <= last - first <= LONGEST and len(found.text) <= limit:
        return found
    alone = [_Placed(place, one, sentence) for one in readable(sentence.phrases, limit)]
    if not alone:  # the sentence is only a heading
        return _Placed(place, Passage(0, len(words.phrases)), words)
    texts = [one.text for one in alone]
    if found.text in texts:
        return alone[texts.index(found.text)]
    return alone[texts.index(max(texts, key=len))]


def _likeliest(
    scores: Scores, number: int, place: int, words: Sentence, *, named: bool
) -> tuple[int, int]:
    """Return the first word of the most probable passage of a sentence, and the word after it.

    Args:
        number: the index of the move in the scores.
        place: the index of the sentence.
        words: the sentence with each word as a phrase.
        named: True to prefer passages of `SHORTEST` to `LONGEST` words.
    """
    import numpy as np

    sizes = [len(phrase.text) for phrase in words.phrases]
    starts = [*accumulate((size + 1 for size in sizes[:-1]), initial=0)]
    ends = list(map(add, starts, sizes))
    firsts, lasts = scores.text.tokens(place, starts, ends)
    count = scores.token.shape[1] // 2
    begin, end = scores.token[firsts, number], scores.token[lasts, count + number]
    order = np.arange(len(sizes))
    lengths = order[None, :] - order[:, None] + 1
    allowed = lengths > 0
    if words.heading < len(sizes):
        allowed[: words.heading] = False
    scored = begin[:, None] + end[None, :]
    if named:
        short = allowed & (lengths >= SHORTEST) & (lengths <= LONGEST)
        allowed = short if short.any() else allowed
        scored = scored + WORD * np.minimum(lengths, FULL)
    scored = np.where(allowed, scored, -np.inf).round(4)
    # Of equally probable passages, the longest is used.
    first, last = max(
        zip(*np.nonzero(scored == scored.max()), strict=True), key=lambda pair: pair[1] - pair[0]
    )
    return int(first), int(last) + 1


def _fitting(passages: Sequence[_Placed], limit: int) -> list[_Placed]:
    """Return the passages that fit into a move together, in the order of the abstract.

    The first passage is always returned.

    Args:
        limit: maximum number of characters of a move.
    """
    kept = list(passages[:1])
    for one in passages[1:]:
        if len(text_of([*(each.text for each in kept), one.text])) <= limit:
            kept.append(one)
    return sorted(kept, key=lambda one: one.place)


def _quote(
    passages: Sequence[_Placed],
    abstract: str,
    sentences: Sequence[Sentence],
    limit: int,
    confidence: float,
) -> Quote:
    """Return the quote of passages. A name replaces a pronoun at the beginning, if it is known.

    Args:
        sentences: the sentences in which the name is searched; () to keep the pronoun.
    """
    text = text_of([one.text for one in passages])
    spans = tuple(span_of(one.passage, one.sentence, abstract) for one in passages)
    before = [(one.start, one.end) for one in sentences[: passages[0].place]]
    referent = opening(abstract, spans[0], before)
    if referent:
        named = f"[{abstract[slice(*referent.span)]}]{text[referent.at[1] - referent.at[0] :]}"
        if len(named) <= limit:
            return Quote(text=named, spans=spans, referent=referent, confidence=confidence)
    return Quote(text=text, spans=spans, confidence=confidence)


def _sigmoid(odds: Any) -> Any:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(odds, -60, 60)))
