"""Replace the drafts of an annotation by passages of its abstract.

For each move, the drafts and the sentence selector rank the passages of the abstract (`candidates`,
`ranking`). Whether the abstract states a move is decided by the model's probability and that of the
selector together, for the moves that are often missing. Moves are chosen in the order of the
probability of their best passage, and a passage loses if a move chosen before has the same words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.annotate.extractive import ranking
from skills.annotate.extractive.candidates import Candidates, candidates_of
from skills.annotate.extractive.drafts import SAMPLES, TEMPERATURE, Drafts
from skills.annotate.extractive.ranking import Weights
from skills.annotate.selector import selector
from skills.corpus.options import Effort
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.checks import SAME
from skills.nanda.framework import Framework
from skills.nanda.quoting.numbered import numbered, span_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 2
"""Increased whenever other passages are chosen for the same drafts."""
STATED = 0.5
"""Probability from which a move is stated."""
REPEATED = 3.0
"""Log probability that a passage loses if another move has the same words, as /curate would reject
the annotation. Of 250 papers of gold_train, 40 then repeat a passage instead of 243, and the macro
ROUGE-L of the held-out quotes is about .013 lower."""


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


def undecided(abstract: str, framework: Framework, written: Collection[str]) -> set[str]:
    """Return the moves that need the model's probability of being stated.

    It is not needed where both the answer and the selector state the move. Without a selector for
    the framework, the answer decides.

    Args:
        written: the moves that the answer states.
    """
    if not selector.is_for(framework):
        return set()
    sentences = [one.text for one in numbered(abstract, limit_of(framework))]
    likely = likely_sentences(framework, sentences)
    priors = ranking.load().priors
    return {
        move for move, prior in priors.items() if move not in written or 1 - likely[move][0] < prior
    }


def extract(abstract: str, drafts: Drafts) -> Extracted:
    """Choose a passage for each move that is stated."""
    framework, weights = drafts.form.framework, ranking.load()
    priors = weights.priors if selector.is_for(framework) else {}
    sentences = numbered(abstract, limit_of(framework))
    candidates = candidates_of(framework.names, sentences, limit_of(framework))
    ranked, confidence = {}, {}
    for move, likely in likely_sentences(framework, [one.text for one in sentences]).items():
        written = drafts.answers[0][move] != framework.not_stated
        by_model, prior = drafts.stated.get(move), priors.get(move)
        stated = stated_probability(written, by_model, 1 - likely[0], prior)
        if stated >= STATED:
            ranked[move] = candidates[move].features(drafts.of(move), conditional(likely))
        else:
            confidence[move] = 1 - stated
    chosen = choose(candidates, ranked, weights)
    moves, anchors = dict.fromkeys(framework.names, framework.not_stated), {}
    for move in (name for name in framework.names if name in chosen):
        number, confidence[move] = chosen[move]
        moves[move] = candidates[move].text(number)
        anchors[move] = _anchor(number, candidates[move], abstract)
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
    written: bool, model: float | None, selector: float, prior: float | None
) -> float:
    """Return the probability that a move is stated, which it is from `STATED` on.

    Args:
        written: whether the first answer states it, which decides if nothing better is known.
        model, selector: its probability by each.
        prior: the share of papers that state it.
    """
    if prior is not None and model is not None:
        return ranking.stated_by_both(model, selector, prior)
    return max(selector, STATED) if written else min(selector, STATED - 0.0001)


def choose(
    candidates: Mapping[str, Candidates], ranked: Mapping[str, NDArray[Any]], weights: Weights
) -> dict[str, tuple[int, float]]:
    """Return the index of the candidate of each move, and the probability that it is right.

    Args:
        candidates: those of each move.
        ranked: their features, for the moves that are stated.
    """
    likely = {
        move: weights.probabilities(candidates[move].kind, features)
        for move, features in ranked.items()
    }
    surest = sorted(likely, key=lambda move: -float(likely[move].max()))
    chosen: dict[str, tuple[int, float]] = {}
    for move in surest:
        own = candidates[move]
        taken = [candidates[other].stems[number] for other, (number, _) in chosen.items()]
        number = ranking.choice(own.stems, _less_repeated(likely[move], own, taken))
        of_sentence = own.place == own.place[number]
        chosen[move] = number, weights.calibrated(float(likely[move][of_sentence].sum()))
    return chosen


def _less_repeated(
    likely: NDArray[Any], candidates: Candidates, taken: Sequence[Sequence[str]]
) -> NDArray[Any]:
    """Return the probabilities of the candidates, less `REPEATED` for the words of those taken."""
    import numpy as np

    repeats = np.zeros(len(likely))
    for words in taken:
        repeats += [ranking.similarity(one, words) >= SAME for one in candidates.stems]
    found = likely * np.exp(-REPEATED * np.minimum(repeats, 1))
    return np.asarray(found / found.sum())


def _anchor(number: int, candidates: Candidates, abstract: str) -> Anchor:
    passage = candidates.passages[number]
    span = span_of(passage, candidates.sentences[passage.sentence - 1], abstract)
    return {"sentences": [passage.sentence], "spans": [list(span)], "by": "model"}


def limit_of(framework: Framework) -> int:
    """Return the maximum characters of a passage: those of a move, less its full stop."""
    return framework.max_chars - 1
