"""Rank the candidates of a move by minimum Bayes risk.

Of the most probable candidates, the chosen one has the highest expected ROUGE-L F1 with all of them
(Kumar and Byrne 2004, "Minimum Bayes-Risk Decoding for Statistical Machine Translation").
`tools/fit_extraction.py` fits which moves are stated, and the confidences.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import LCSseq

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALONE = Path(__file__).with_name("alone.json")
COMPARED = 30
"""The most probable candidates, which are compared with each other."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What `ALONE` contains.

    Attributes:
        least: of the moves that are often missing, the least `reading.balance` of one that is
            stated.
        confidence: slope and intercept of the log odds that the sentence is right, over those of
            the selector.
        digest: SHA-256 of the file.
    """

    least: Mapping[str, float]
    confidence: tuple[float, float]
    digest: str = ""

    def calibrated(self, probability: float) -> float:
        """Return the probability that a sentence is right, from that of its candidates."""
        slope, intercept = self.confidence
        return sigmoid(slope * logit(probability) + intercept)


def choice(stems: Sequence[Sequence[str]], likely: NDArray[Any]) -> int:
    """Return the index of the candidate with the highest expected similarity.

    Args:
        stems: the stemmed words of each candidate.
        likely: the probability of each.
    """
    order = sorted(range(len(likely)), key=lambda i: -likely[i])[:COMPARED]
    return max(order, key=lambda i: sum(likely[j] * similarity(stems[i], stems[j]) for j in order))


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the ROUGE-L F1 of two texts, given as stemmed words."""
    length = len(one) + len(other)
    return 2 * LCSseq.similarity(one, other) / length if length else 1.0


@functools.cache
def load(path: Path = ALONE) -> Weights:
    """Read the fitted weights."""
    content = path.read_bytes()
    stored = json.loads(content)
    return Weights(
        stored["least"],
        (stored["confidence"]["slope"], stored["confidence"]["intercept"]),
        hashlib.sha256(content).hexdigest(),
    )


def logit(probability: float, least: float = 1e-4) -> float:
    """Return the log odds of a probability, which is bounded by `least` and 1 - `least`."""
    bounded = min(max(probability, least), 1 - least)
    return math.log(bounded / (1 - bounded))


def sigmoid(odds: float) -> float:
    """Return the probability of log odds, the inverse of `logit`."""
    return 1 / (1 + math.exp(-odds))
