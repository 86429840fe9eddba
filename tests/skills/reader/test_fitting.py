"""The thresholds and the confidence that are fitted on held-out papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from skills.reader.choice import calibrated, further
from skills.reader.encoder import Scores, Text
from skills.reader.examples import Example
from skills.reader.fitting import fit

MOVES = ("method",)
TEXT = Text((1, 7, 2, 7, 2, 7, 2), ((1, 2), (3, 4), (5, 6)), (((0, 1),),) * 3)
"""A text of three sentences with one token each."""


def paper(labelled: Sequence[int], further: float, best: float = 9.0) -> tuple[Example, Scores]:
    """Return a paper whose method is most probably in the first sentence.

    Args:
        labelled: the sentences with the label "method".
        further: the probability that the second sentence is a part of the method.
        best: the score of the first sentence.
    """
    sentence, part = np.zeros((3, 1)), np.full((3, 1), -9.0)
    sentence[0], part[1] = best, math.log(further / (1 - further))
    passages = {0: tuple((place, 0, 0) for place in labelled)}
    example = Example(TEXT, {0: tuple(labelled)}, passages)
    return example, Scores(TEXT, sentence, part, np.full(1, -9.0), np.zeros((7, 2)))


@pytest.mark.parametrize(("right", "quoted"), [(8, True), (1, False)])
def test_further_sentences_are_quoted_if_that_raises_f1(right: int, quoted: bool) -> None:
    probable = [paper([0, 1], further=0.7) for _ in range(5)]
    improbable = [paper([0, 1] if number < right else [0], further=0.3) for number in range(10)]
    assert (fit([*probable, *improbable], MOVES).part["method"] <= 0.3) is quoted


def stated(shares: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the threshold that is fitted on papers with these probabilities and labels."""
    papers = []
    for share, label in zip(shares, labels, strict=True):
        example, scores = paper([0] if label else [], further=0.1, best=0.0)
        odds = math.log(3.0) - math.log(share / (1 - share))  # each sentence has the score 0
        papers.append((example, replace(scores, unstated=np.full(1, odds))))
    return fit(papers, MOVES).stated["method"]


def test_the_threshold_of_stated_is_the_median_of_the_good_thresholds() -> None:
    assert stated([0.2, 0.2, 0.8, 0.8], [False, False, True, True]) == pytest.approx(0.5, abs=0.03)


def test_a_threshold_that_decides_always_alike_is_not_chosen() -> None:
    shares = [0.3] * 50 + [0.02] * 50
    labels = [number % 50 < 8 - number // 50 for number in range(100)]  # kappa is at most 0.02
    assert 0.02 < stated(shares, labels) <= 0.3


def test_the_other_sentences_are_ordered_by_probability() -> None:
    _, scores = paper([0, 1, 2], further=0.7)
    assert further(scores, 0, "method", 0, least=0.0) == [1, 2]
    assert further(scores, 0, "method", 1, least=0.0) == [0, 2]
    assert further(scores, 0, "method", 0, least=0.5) == [1]
    assert further(scores, 0, "novelty", 0, least=0.0) == []


def test_the_confidence_is_that_a_quoted_sentence_is_right() -> None:
    papers = [paper([1], further=0.7, best=0.0) for _ in range(10)]  # only the second is right
    fitted = fit(papers, MOVES)
    assert fitted.part["method"] <= 0.7
    assert calibrated(2 / 3, *fitted.confidence) > 0.9
