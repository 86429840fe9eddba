"""Choose the sentence of a move from the probabilities of the model and of the selector.

The mixture is w p + (1 - w) q, where p are the model's probabilities of "not stated" and of each
sentence, and q those of the selector. A move is not stated if the mixture gives this at least the
threshold; otherwise the most probable sentence is chosen. The mixture's probability of the choice
is the confidence of the move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mixture:
    """The mixture of a move.

    Attributes:
        weight: w, the model's share.
        threshold: probability of "not stated" from which the move is not stated.
    """

    weight: float = 0.5
    threshold: float = 0.5

    def mixed(self, model: Sequence[float], selector: Sequence[float]) -> list[float]:
        """Return the probabilities of "not stated" and of each sentence."""
        pairs = zip(model, selector, strict=True)
        return [self.weight * p + (1 - self.weight) * q for p, q in pairs]

    def choice(self, mixed: Sequence[float]) -> int:
        """Return the number of the chosen sentence, 0 for a move that is not stated."""
        if len(mixed) == 1 or mixed[0] >= self.threshold:
            return 0
        return max(range(1, len(mixed)), key=mixed.__getitem__)


EVEN = Mixture()
MIXTURES: Mapping[str, Mixture] = {}
"""The fitted mixtures by move; `EVEN` for others."""


def mixture_of(move: str) -> Mixture:
    return MIXTURES.get(move, EVEN)


def identity() -> dict[str, Any]:
    """Return the settings of all mixtures, for the content key of annotations."""
    return {"": asdict(EVEN)} | {move: asdict(one) for move, one in MIXTURES.items()}
