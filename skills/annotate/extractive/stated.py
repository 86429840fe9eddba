"""Decide which moves an abstract states, by the model's answer and the sentence selector.

For the moves that are often missing, the answer's "Not stated." is compared with the selector.
Where they disagree, the probabilities of both are combined, and a move is stated if it is likely
enough that the abstract states it and that its sentence is found: a quote of another sentence is as
wrong as a missing move.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from skills.annotate.extractive import ranking
from skills.annotate.extractive.ranking import Weights
from skills.annotate.selector import selector
from skills.nanda.framework import Framework
from skills.nanda.quoting.numbered import Sentence, numbered


@dataclass(frozen=True, slots=True)
class Likely:
    """The sentences of an abstract, and from which of them each move comes.

    Attributes:
        by_move: the probabilities of "not stated" and of the sentences; without a selector for the
            framework, all are equal.
        selected: whether they are those of the selector.
    """

    framework: Framework
    sentences: tuple[Sentence, ...]
    by_move: Mapping[str, Sequence[float]]
    selected: bool

    @classmethod
    def of(cls, abstract: str, framework: Framework) -> Likely:
        """Return the sentences of an abstract."""
        sentences = numbered(abstract, limit_of(framework))
        selected = selector.is_for(framework)
        if selected:
            by_move = selector.probabilities([one.text for one in sentences])
        else:
            equal = [1 / (len(sentences) + 1)] * (len(sentences) + 1)
            by_move = dict.fromkeys(framework.names, equal)
        return cls(framework, sentences, by_move, selected)

    def stated(self, move: str) -> float:
        """Return the probability that the move is stated, by the selector."""
        return 1 - self.by_move[move][0]

    def undecided(self, written: Collection[str]) -> set[str]:
        """Return the moves that need the model's probability of being stated.

        Args:
            written: the moves that the answer states.
        """
        if not self.selected:
            return set()
        priors = ranking.load().priors
        return {m for m, prior in priors.items() if disagree(m in written, self.stated(m), prior)}


def disagree(written: bool, selected: float, prior: float) -> bool:
    """Return False if the answer states a move, and the selector finds it likelier than usual."""
    return not written or selected < prior


def stated_probability(
    written: bool, model: float | None, selected: float, prior: float | None
) -> float:
    """Return the probability that a move is stated.

    Args:
        written: whether the answer states it, which decides if nothing better is known.
        model, selected: its probability by the model and by the selector.
        prior: the share of papers that state it.
    """
    if prior is not None and model is not None:
        return ranking.stated_by_both(model, selected, prior)
    return max(selected, 0.5) if written else min(selected, 0.4999)


def is_stated(
    move: str, written: bool, model: float | None, stated: float, right: float, weights: Weights
) -> bool:
    """Return True if a move is stated.

    Args:
        written, model: as for `stated_probability`, which returns `stated`.
        right: the probability of its most probable sentence.
    """
    if model is None or move not in weights.least:
        return written
    return ranking.balance(stated, right) >= weights.least[move]


def limit_of(framework: Framework) -> int:
    """Return the maximum characters of a passage: those of a move, less its full stop."""
    return framework.max_chars - 1
