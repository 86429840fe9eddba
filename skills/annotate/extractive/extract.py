"""Choose the passages of an abstract that state its moves.

For each move, the selector ranks the passages of the abstract, and `reading` decides whether the
abstract states it. The move that would lose most if another had its best passage chooses first, and
a passage loses if another move has the same words. Each move chooses a second time, now that the
choices of the others are known. A move that is left with a suggestion quotes its best passage
instead, if one other move quotes that. Of three moves with the same words, the least certain is a
suggestion.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.annotate.extractive import ranking
from skills.annotate.extractive.ranking import Weights
from skills.annotate.extractive.reading import Reading
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import Candidates
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.confidence import SUGGESTED, Suggestion
from skills.nanda.framework import nanda
from skills.nanda.quoting.numbered import span_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 11
"""Increased whenever other passages are chosen for the same probabilities."""
REPEATED = 3.0
"""Log probability that a passage loses if another move has its words. Of 250 papers of gold_train,
25 then repeat a passage instead of 232, and the macro ROUGE-L of the held-out quotes is .015
lower."""
ALIKE = 0.8
"""Similarity from which two passages have the same words; /curate rejects moves from .85 on. In 92
instead of 120 of 250 papers, two moves are then more similar than .7, and ROUGE-L is the same; with
.7 it is .003 lower."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """An annotation that quotes its abstract.

    Attributes:
        suggestions: the passages of moves that are not stated, since they are below `SUGGESTED`.
    """

    moves: Mapping[str, str]
    anchors: Mapping[str, Anchor]
    confidence: Mapping[str, float]
    suggestions: Mapping[str, Suggestion]


def decoding() -> dict[str, Any]:
    """Return what determines the passages besides the abstract and the model."""
    return {
        "version": VERSION,
        "wording": "extractive",
        "selector": selector.load().digest,
        "weights": ranking.load().digest,
    }


def extract(abstract: str, reading: Reading, known: Collection[str] = ()) -> Extracted:
    """Choose a passage for each move of the built-in framework that is stated.

    Args:
        reading: what the selector finds in the abstract.
        known: moves that the abstract certainly states; they are the first to choose, and stated
            with any confidence.
    """
    import numpy as np

    framework, weights = nanda(), ranking.load()
    unstated = framework.not_stated
    candidates = {move: one.candidates for move, one in reading.by_move.items()}
    ranked, confidence = {}, {}
    for move, likely in reading.by_move.items():
        found = np.exp(likely.passages)
        right = likely.candidates.of_best_sentence(found)
        if move in known or reading.states(move, right, weights):
            ranked[move] = found
        else:
            confidence[move] = likely.unstated
    chosen = choose(candidates, ranked, weights, known)
    moves, anchors = dict.fromkeys(framework.names, unstated), dict[str, Anchor]()
    suggestions: dict[str, Suggestion] = {}
    excess = _excess(candidates, chosen)
    for move in (name for name in framework.names if name in chosen):
        number, right = chosen[move]
        text, anchor = candidates[move].text(number), _anchor(number, candidates[move], abstract)
        if (right < SUGGESTED or move in excess) and move not in known:
            confidence[move] = reading.by_move[move].unstated
            sentences, spans = anchor["sentences"], anchor["spans"]
            suggestions[move] = {
                "text": text,
                "confidence": round(right, 4),
                "sentences": sentences,
                "spans": spans,
            }
        else:
            confidence[move], moves[move], anchors[move] = right, text, anchor
    rounded = {name: round(confidence[name], 4) for name in framework.names}
    return Extracted(moves, anchors, rounded, suggestions)


def choose(
    candidates: Mapping[str, Candidates],
    ranked: Mapping[str, NDArray[Any]],
    weights: Weights,
    first: Collection[str] = (),
) -> dict[str, tuple[int, float]]:
    """Return the index of the candidate of each move, and the probability that it is right.

    Args:
        candidates: those of each move.
        ranked: their probabilities, for the moves that are stated.
        first: moves before all others.
    """
    order = sorted(ranked, key=lambda m: (m not in first, -_loss(candidates[m], ranked[m])))
    chosen: dict[str, int] = {}
    for move in (*order, *order):  # again, now that the choices of the others are known
        own = candidates[move]
        taken = [candidates[one].stems[at] for one, at in chosen.items() if one != move]
        chosen[move] = ranking.choice(own.stems, _less_repeated(ranked[move], own, taken))

    def right(move: str, number: int) -> float:
        return weights.calibrated(candidates[move].of_sentence(number, ranked[move]))

    for move in order:
        own = candidates[move]
        best = ranking.choice(own.stems, ranked[move])
        if right(move, chosen[move]) < SUGGESTED <= right(move, best):
            alike = [
                ranking.similarity(candidates[one].stems[at], own.stems[best]) >= ALIKE
                for one, at in chosen.items()
            ]
            if sum(alike) < 2:  # the passage of one other move
                chosen[move] = best
    return {move: (number, right(move, number)) for move, number in chosen.items()}


def _excess(
    candidates: Mapping[str, Candidates], chosen: Mapping[str, tuple[int, float]]
) -> set[str]:
    """Return the moves whose words two moves of higher confidence have."""
    excess: set[str] = set()
    quoted: list[Sequence[str]] = []
    for move in sorted(chosen, key=lambda move: -chosen[move][1]):
        stems = candidates[move].stems[chosen[move][0]]
        if sum(ranking.similarity(stems, one) >= ALIKE for one in quoted) > 1:
            excess.add(move)
        else:
            quoted.append(stems)
    return excess


def _loss(candidates: Candidates, likely: NDArray[Any]) -> float:
    """Return by how much the log probability of a move falls if another has its best passage."""
    best = candidates.stems[int(likely.argmax())]
    others = [
        probability
        for own, probability in zip(candidates.stems, likely, strict=True)
        if ranking.similarity(own, best) < ALIKE
    ]
    return ranking.logit(float(likely.max())) - ranking.logit(max(others, default=0.0))


def _less_repeated(
    likely: NDArray[Any], candidates: Candidates, taken: Sequence[Sequence[str]]
) -> NDArray[Any]:
    """Return the probabilities of the candidates, less `REPEATED` for the words of those taken."""
    import numpy as np

    repeats = np.zeros(len(likely))
    for words in taken:
        repeats += [ranking.similarity(one, words) >= ALIKE for one in candidates.stems]
    found = likely * np.exp(-REPEATED * np.minimum(repeats, 1))
    return np.asarray(found / found.sum())


def _anchor(number: int, candidates: Candidates, abstract: str) -> Anchor:
    passage = candidates.passages[number]
    span = span_of(passage, candidates.sentences[number], abstract)
    return {"sentences": [passage.sentence], "spans": [list(span)], "by": "model"}
