"""Choose the passages of a move among several candidates, by minimum Bayes risk.

The candidates are generated from the most probable sentences: for each, the most probable passages
and a sample. Each has the probability of its sentence in the mixture of model and selector, shared
by the candidates of that sentence. The chosen one has the highest expected similarity to all of
them, ROUGE-L F1 (Kumar and Byrne 2004, "Minimum Bayes-Risk Decoding for Statistical Machine
Translation"; Bertsch et al. 2023, arXiv 2310.01387).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from rapidfuzz.distance import LCSseq

from skills.annotate.anchored.decoder import Decoder
from skills.nanda.text import stem, words

SENTENCES = 3
"""Sentences that are tried."""
TEMPERATURES = (0.0, 0.7)
"""Of the candidates of each sentence."""


def best_line(decoder: Decoder, label: str, mixed: Sequence[float]) -> tuple[int, str]:
    """Return the number of the sentence of a stated move, and its line.

    Args:
        mixed: the probabilities of "not stated" and of each sentence.
    """
    numbers = heapq.nlargest(SENTENCES, range(1, len(mixed)), key=mixed.__getitem__)
    likely: dict[str, float] = {}
    sentence: dict[str, int] = {}
    for number in numbers:
        for temperature in TEMPERATURES:
            line = decoder.line(label, number, temperature)
            likely[line] = likely.get(line, 0.0) + mixed[number] / len(TEMPERATURES)
            sentence[line] = number
    chosen = max(likely, key=lambda line: _expected(line, likely))
    return sentence[chosen], chosen


def _expected(line: str, likely: Mapping[str, float]) -> float:
    """Return the expected similarity of a line to the candidates, times their total probability."""
    own = _stems(line)
    return sum(weight * _similarity(own, _stems(other)) for other, weight in likely.items())


def _similarity(one: Sequence[str], other: Sequence[str]) -> float:
    length = len(one) + len(other)
    return 2 * LCSseq.similarity(one, other) / length if length else 1.0


def _stems(line: str) -> list[str]:
    return [stem(word) for word in words(line.partition(": ")[2])]
