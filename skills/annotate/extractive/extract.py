"""Replace the drafts of an annotation by passages of its abstract.

For each move, the drafts and the sentence selector rank the passages of the abstract (`candidates`,
`ranking`). A move of which the model is not sure whether the abstract states it is decided by the
model's probability and the selector's together. Moves are chosen in the order of the probability of
their best sentence, and a passage loses by overlapping those chosen before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.annotate.extractive import ranking
from skills.annotate.extractive.candidates import Candidates, candidates_of
from skills.annotate.extractive.drafts import SAMPLES, TEMPERATURE, Drafts
from skills.annotate.extractive.ranking import Decision, Weights
from skills.annotate.selector import selector
from skills.corpus.options import Effort
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.checks import SAME
from skills.nanda.framework import Framework
from skills.nanda.quoting.numbered import numbered, span_of
from skills.nanda.quoting.passages import Passage

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Increased whenever other passages are chosen for the same drafts."""
STATED = 0.5
"""Probability from which a move is stated."""
TAKEN = 1.5
"""Log probability that a passage loses if another move quotes all of it."""
REPEATED = 3.0
"""Log probability that it loses besides if another move has the same words: /curate rejects such
annotations."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """An annotation that quotes its abstract."""

    moves: Mapping[str, str]
    anchors: Mapping[str, Anchor]
    confidence: Mapping[str, float]


def decoding(framework: Framework, effort: Effort) -> dict[str, Any]:
    """Return what determines the passages besides the first request and the model."""
    fitted = selector.load() if selector.is_for(framework) else None
    return {
        "version": VERSION,
        "wording": "extractive",
        "effort": effort,
        "samples": {"count": SAMPLES, "temperature": TEMPERATURE} if effort == "best" else None,
        "selector": fitted.digest if fitted else None,
        "weights": ranking.load().digest,
    }


def decisions_for(framework: Framework) -> Mapping[str, Decision]:
    """Return how model and selector decide moves together; nothing where no selector is."""
    return ranking.load().decisions if selector.is_for(framework) else {}


def extract(abstract: str, drafts: Drafts) -> Extracted:
    """Choose a passage for each move that is stated."""
    framework, weights = drafts.form.framework, ranking.load()
    decisions = decisions_for(framework)
    sentences = numbered(abstract, limit_of(framework))
    candidates = candidates_of(sentences, limit_of(framework))
    ranked, confidence = {}, {}
    for move, likely in likely_sentences(framework, [one.text for one in sentences]).items():
        written = drafts.answers[0][move] != framework.not_stated
        by_model, decision = drafts.stated.get(move), decisions.get(move)
        stated = stated_probability(written, by_model, 1 - likely[0], decision)
        if stated >= STATED:
            ranked[move] = candidates.features(drafts.of(move), conditional(likely))
        else:
            confidence[move] = 1 - stated
    chosen = choose(candidates, ranked, weights)
    moves, anchors = dict.fromkeys(framework.names, framework.not_stated), {}
    for move in (name for name in framework.names if name in chosen):
        number, confidence[move] = chosen[move]
        moves[move] = candidates.text(number)
        anchors[move] = _anchor(candidates.passages[number], candidates, abstract)
    return Extracted(moves, anchors, {n: round(confidence[n], 4) for n in framework.names})


def likely_sentences(framework: Framework, sentences: Sequence[str]) -> dict[str, list[float]]:
    """Return for each move the probabilities of "not stated" and of the sentences.

    Without a selector for the framework, all are equally probable.
    """
    if selector.is_for(framework):
        return selector.load().probabilities(sentences)
    each = 1 / (len(sentences) + 1)
    return {move: [each] * (len(sentences) + 1) for move in framework.names}


def conditional(likely: Sequence[float]) -> list[float]:
    """Return the probabilities of the sentences if the move is stated."""
    total = sum(likely[1:])
    return [one / total if total else 1 / (len(likely) - 1) for one in likely[1:]]


def stated_probability(
    written: bool, model: float | None, selector: float, decision: Decision | None
) -> float:
    """Return the probability that a move is stated, which it is from `STATED` on.

    Args:
        written: whether the first answer states it, which decides if nothing better is known.
        model, selector: its probability by each.
    """
    if decision is not None and model is not None:
        return decision.probability(model, selector)
    return max(selector, STATED) if written else min(selector, STATED - 0.0001)


def choose(
    candidates: Candidates, ranked: Mapping[str, NDArray[Any]], weights: Weights
) -> dict[str, tuple[int, float]]:
    """Return the index of the candidate of each move, and the probability that it is right.

    Args:
        ranked: the features of the candidates by move.
    """
    likely = {move: weights.probabilities(features) for move, features in ranked.items()}
    surest = sorted(likely, key=lambda move: -float(likely[move].max()))
    chosen: dict[str, tuple[int, float]] = {}
    for move in surest:
        taken = [number for number, _ in chosen.values()]
        found = _without_taken(likely[move], candidates, taken)
        number = ranking.choice(candidates.stems, found)
        of_sentence = candidates.place == candidates.place[number]
        chosen[move] = number, weights.calibrated(float(likely[move][of_sentence].sum()))
    return chosen


def _without_taken(
    likely: NDArray[Any], candidates: Candidates, taken: Sequence[int]
) -> NDArray[Any]:
    """Return the probabilities of the candidates, less what they lose to those that are taken."""
    import numpy as np

    numbers = range(len(likely))
    lost = [max((_lost(candidates, one, other) for other in taken), default=0.0) for one in numbers]
    found = likely * np.exp(-np.array(lost))
    return np.asarray(found / found.sum())


def _lost(candidates: Candidates, one: int, other: int) -> float:
    """Return the log probability that a candidate loses if another move quotes `other`."""
    shared = _overlap(candidates.passages[one], candidates.passages[other])
    same = ranking.similarity(candidates.stems[one], candidates.stems[other]) >= SAME
    return TAKEN * shared + REPEATED * same


def _overlap(one: Passage, other: Passage) -> float:
    """Return the share of the phrases of a passage that another one contains."""
    if one.sentence != other.sentence:
        return 0.0
    common = min(one.last, other.last) - max(one.first, other.first)
    return max(common, 0) / (one.last - one.first)


def _anchor(passage: Passage, candidates: Candidates, abstract: str) -> Anchor:
    span = span_of(passage, candidates.sentences[passage.sentence - 1], abstract)
    return {"sentences": [passage.sentence], "spans": [list(span)], "by": "model"}


def limit_of(framework: Framework) -> int:
    """Return the maximum characters of a passage: those of a move, less its full stop."""
    return framework.max_chars - 1
