"""Read an abstract with the selector, and decide which moves it states.

A move that is often missing is stated if it is likely enough that the abstract states it and that
its sentence is found, since a quote of another sentence is as wrong as a missing move. The others
are always stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skills.annotate.extractive.ranking import Weights
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import limit_of
from skills.annotate.selector.selector import Likely
from skills.nanda.framework import nanda
from skills.nanda.quoting.numbered import numbered


@dataclass(frozen=True, slots=True)
class Reading:
    """From which passage of an abstract each move comes.

    Attributes:
        tokens: those that the selector read.
    """

    by_move: Mapping[str, Likely]
    tokens: int

    @classmethod
    def of(cls, abstract: str) -> Reading:
        """Return the reading of an abstract.

        Raises:
            ModelUnavailable: see `selector.likely`.
        """
        return cls(*selector.likely(numbered(abstract, limit_of(nanda()))))

    def states(self, move: str, right: float, weights: Weights) -> bool:
        """Return True if the abstract states a move.

        Args:
            right: the probability of its most probable sentence, if it is stated.
        """
        if move not in weights.least:
            return True
        return balance(1 - self.by_move[move].unstated, right) >= weights.least[move]


def balance(stated: float, right: float) -> float:
    """Return the probability of a right quote, relative to a right quote or none.

    Args:
        stated: the probability that the abstract states the move.
        right: that the quoted sentence is right, if it does.
    """
    return stated * right / (stated * right + 1 - stated)
