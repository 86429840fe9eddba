"""Apply the selector: probabilities of the sentences of each move, by a log-linear model.

For a move with the weights w, the probability of candidate i is proportional to
exp(sum of w over the features of i / sqrt(their number)). The candidates are the sentences and "not
stated".
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skills.annotate.selector.features import candidates
from skills.nanda.framework import Framework, nanda

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = Path(__file__).with_name("selector.npz")


@dataclass(frozen=True, slots=True)
class Selector:
    """The weights of each move, float32 of `features.DIMENSIONS`.

    Attributes:
        digest: SHA-256 of the file.
    """

    weights: Mapping[str, NDArray[Any]]
    digest: str

    def probabilities(self, sentences: Sequence[str]) -> dict[str, list[float]]:
        """Return for each move the probabilities of "not stated" and of the sentences, in order."""
        import numpy as np

        found = candidates(sentences)
        by_move = {}
        for move, weights in self.weights.items():
            logits = np.array([weights[one].sum() / np.sqrt(max(len(one), 1)) for one in found])
            powers = np.exp(logits - logits.max())
            *stated, unstated = (powers / powers.sum()).tolist()
            by_move[move] = [unstated, *stated]
        return by_move


@functools.cache
def load(path: Path = WEIGHTS) -> Selector:
    """Read the weights of a selector."""
    import numpy as np

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(path, allow_pickle=False) as stored:
        return Selector({move: stored[move].astype(np.float32) for move in stored.files}, digest)


def is_for(framework: Framework) -> bool:
    """Return True if the selector was fitted on these moves: those of the built-in framework.

    Moves of another framework may have the same names and other definitions.
    """
    return framework.moves == nanda().moves
