"""Anchors: whether a move comes from the sentence that the gold's comes from, and is sure of it.

The sentences of the gold's moves are those of lexical alignment; an annotation's are those that it
stores, else lexical ones too. A move is compared if both state it and the gold's has a sentence.

The confidence of a move estimates the probability that its anchor is right. With the compared moves
in bins B of equal width by confidence, the expected calibration error is

    ECE = sum over B of |B| / n * | share right in B - mean confidence in B |

of n moves (Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using
Bayesian Binning"; Guo et al. 2017, "On Calibration of Modern Neural Networks"). It is above 0 for
few moves even if the confidences are calibrated, and higher in resamples than in the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skills.evaluate.annotators import Annotator, Subject
from skills.evaluate.measures import Measures, of_anchors
from skills.evaluate.move_metrics import Key, by_move, texts_of
from skills.evaluate.outputs import OVERALL, Reliability, ReliabilityBin
from skills.reporting.statistics import Statistic, divided, ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

BINS = 10
SURE = 0.8
"""Confidence from which a move counts as sure."""
METRICS: Mapping[str, str] = {
    "anchor": "moves from a sentence that the gold's move comes from, of those that both state",
    "nearest": "the same by one sentence each: of the anchor, the one nearest to the move",
    "sure": f"right anchors, among the moves with a confidence of {SURE} or more",
    "ece": f"expected calibration error of the confidence of these moves, in {BINS} bins",
}


@dataclass(frozen=True, slots=True)
class _Anchored:
    """Anchors beside those of the gold, papers by moves.

    Attributes:
        right: whether the anchor has a sentence of the gold's.
        nearest: whether the sentence of the anchor that is nearest to the move is that of the gold.
        compared: whether both state the move, and the gold's has a sentence.
        unmatched: whether the annotator alone states the move.
        confidence: nan where there is none.
    """

    right: Flags
    nearest: Flags
    compared: Flags
    unmatched: Flags
    confidence: Floats


def statistics(annotator: Annotator, subject: Subject, measures: Measures) -> dict[Key, Statistic]:
    """Return the metrics of anchors; those of confidence if moves have one."""
    import numpy as np

    found = _anchored(annotator, subject, measures)
    right, compared = found.right, found.compared
    statistics = by_move("anchor", right, compared, subject.framework)
    statistics |= by_move("nearest", found.nearest, compared, subject.framework)
    rated = compared & ~np.isnan(found.confidence)
    if rated.any():
        sure = compared & (found.confidence >= SURE)
        statistics["sure", OVERALL] = ratio((right & sure).sum(axis=1), sure.sum(axis=1))
        statistics["ece", OVERALL] = calibration_error(right, found.confidence, rated)
    return statistics


def reliability(annotator: Annotator, subject: Subject, measures: Measures) -> Reliability | None:
    """Return the reliability table of the confidences, None if no compared move has one."""
    import numpy as np

    found = _anchored(annotator, subject, measures)
    rated = found.compared & ~np.isnan(found.confidence)
    if not rated.any():
        return None
    right, confidence = found.right[rated], found.confidence[rated]
    places, bins = _bins(confidence), []
    for k in sorted(set(places.tolist())):
        inside = places == k
        bins.append(
            ReliabilityBin(
                low=k / BINS,
                high=(k + 1) / BINS,
                moves=int(inside.sum()),
                confidence=round(float(confidence[inside].mean()), 4),
                right=round(float(right[inside].mean()), 4),
            )
        )
    return Reliability(
        moves=len(confidence),
        bins=bins,
        sure=int((confidence >= SURE).sum()),
        sure_not_in_gold=int((found.unmatched & (found.confidence >= SURE)).sum()),
    )


def calibration_error(right: Flags, confidence: Floats, rated: Flags) -> Statistic:
    """Return the expected calibration error of the `rated` moves; see the module."""
    import numpy as np

    papers, moves = rated.nonzero()
    places = _bins(confidence[papers, moves])
    # Of each paper and bin: the right moves less their confidences. The last sum counts the moves.
    sums = np.zeros((len(rated), BINS + 1))
    gaps = right[papers, moves] - confidence[papers, moves]
    np.add.at(sums, (papers, places), gaps)
    sums[:, BINS] = rated.sum(axis=1)

    def value(totals: Floats) -> Floats:
        return divided(np.abs(totals[:, :BINS]).sum(axis=1), totals[:, BINS])

    return Statistic(sums, value, sums[:, BINS] > 0)


def _anchored(annotator: Annotator, subject: Subject, measures: Measures) -> _Anchored:
    import numpy as np

    framework, gold = subject.framework, subject.gold or ()
    shape = len(gold), len(framework.names)
    right, nearest, compared, unmatched = np.zeros((4, *shape), bool)
    confidence = np.full(shape, np.nan)
    for i, (paper, given) in enumerate(zip(subject.papers, gold, strict=True)):
        moves = texts_of(annotator.answers[i].moves, framework)
        own = measures.get(of_anchors, paper.abstract, moves, annotator.answers[i].anchors)
        expected = measures.get(of_anchors, paper.abstract, texts_of(given, framework), None)
        for j, name in enumerate(framework.names):
            if name not in moves:
                continue
            confidence[i, j] = annotator.answers[i].confidence.get(name, np.nan)
            unmatched[i, j] = name not in expected
            if name in expected and expected[name]["sentences"]:
                compared[i, j] = True
                right[i, j] = bool({*own[name]["sentences"]} & {*expected[name]["sentences"]})
                nearest[i, j] = right[i, j] and own[name]["nearest"] == expected[name]["nearest"]
    return _Anchored(right, nearest, compared, unmatched, confidence)


def _bins(confidence: Floats) -> Ints:
    """Return the bin of each confidence; a bin has its lower limit, the last one both."""
    import numpy as np

    return np.digitize(confidence, np.arange(1, BINS) / BINS)
