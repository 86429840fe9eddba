"""Read an abstract with the selector, and decide which moves it states.

The selector decides about the moves that are often missing: such a move is stated if it is likely
enough that the abstract states it and that its sentence is found, since a quote of another sentence
is as wrong as a missing move. The draft decides about the others, and about moves that the selector
was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skills.annotate.extractive.ranking import Weights
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import Candidates, candidates_of, limit_of
from skills.annotate.selector.selector import Likely
from skills.nanda.framework import Framework
from skills.nanda.quoting.numbered import numbered


@dataclass(frozen=True, slots=True)
class Reading:
    """From which passage of an abstract each move comes.

    Attributes:
        by_move: without a selector for the framework, all passages are equally probable.
        selected: whether it is what the selector finds.
        tokens: those that the selector read.
    """

    by_move: Mapping[str, Likely]
    selected: bool
    tokens: int = 0

    @classmethod
    def of(cls, abstract: str, framework: Framework) -> Reading:
        """Return the reading of an abstract.

        Raises:
            ModelUnavailable: see `selector.likely`.
        """
        sentences = numbered(abstract, limit_of(framework))
        if selector.is_for(framework):
            by_move, tokens = selector.likely(sentences)
            return cls(by_move, True, tokens)
        found = candidates_of(framework.names, sentences, limit_of(framework))
        return cls({move: _even(own) for move, own in found.items()}, selected=False)

    def states(self, move: str, written: bool, right: float, weights: Weights) -> bool:
        """Return True if the abstract states a move.

        Args:
            written: whether the draft states it.
            right: the probability of its most probable sentence, if it is stated.
        """
        if not self.selected or move not in weights.least:
            return written
        return balance(1 - self.by_move[move].unstated, right) >= weights.least[move]


def balance(stated: float, right: float) -> float:
    """Return the probability of a right quote, relative to a right quote or none.

    Args:
        stated: the probability that the abstract states the move.
        right: that the quoted sentence is right, if it does.
    """
    return stated * right / (stated * right + 1 - stated)


def _even(candidates: Candidates) -> Likely:
    import numpy as np

    count = len(candidates.passages)
    return Likely(candidates, 0.5, np.full(count, -np.log(max(count, 1))))
