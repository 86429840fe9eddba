"""Compare the anchors of moves with the anchors of the gold, or with labels of sentences.

Lexical alignment finds the anchor of a gold move. It also finds the anchor of a move that has no
stored anchor. A move is compared if annotation and gold state the move, and the gold move has an
anchor.

The confidence of a move estimates the probability that its anchor is right. The n compared moves
that have a confidence are sorted by confidence into bins B of equal width. The expected calibration
error is

    ECE = sum over B of |B| / n * | share of right moves in B - mean confidence in B |

(Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian
Binning"; Guo et al. 2017, "On Calibration of Modern Neural Networks"). If there are few moves, the
ECE is above 0 even for calibrated confidences, and higher in resamples than in the sample.

CSAbstruct (Cohan et al. 2019, "Pretrained Language Models for Sequential Sentence Classification")
labels each sentence of an abstract. The label of a move's anchor is compared with the label
expected for the move. If the anchor has several sentences, the sentence nearest to the move counts
(`skills.nanda.checks.source_sentence`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skills.evaluate.annotators import Annotator, Labelled, Subject
from skills.evaluate.measures import Measures, of_anchors
from skills.evaluate.move_metrics import Key, by_move, stated, texts_of
from skills.evaluate.outputs import OVERALL, Reliability, ReliabilityBin
from skills.nanda.sentences import split_sentences
from skills.reporting.statistics import Statistic, divided, kappa, ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skills.reporting.statistics import Flags, Floats

BINS = 10
SURE = 0.8
"""Minimum confidence of a move that counts as sure."""
LABELS = ("background", "objective", "method", "result", "other")
BACKGROUND = "background"
EXPECTED = {"method": "method", "evidence": "result"}
"""The expected label of an anchor, by move; the other moves have no expected label."""
METRICS: Mapping[str, str] = {
    "anchor": "share of moves with a common sentence in both anchors, of the moves that annotator "
    "and gold both state",
    "nearest": "share of moves with the same nearest sentence in both anchors, of the moves that "
    "annotator and gold both state",
    "sure": f"share of right anchors among the moves with a confidence of {SURE} or more",
    "ece": "expected calibration error: mean difference of confidence and share of right anchors, "
    f"in {BINS} bins of confidence",
    "label_precision": "share of the move's anchors with the expected label (method: method, "
    "evidence: result)",
    "label_prior": "share of sentences with the expected label: the precision of a random anchor",
    "label_lift": "label_precision minus label_prior",
    "background": "share of the move's anchors labelled background: earlier work presented as "
    "own work",
    "abstention": "Cohen's kappa between two facts: the annotator states the move, and a sentence "
    "has the expected label",
    "false_fill": "share of the papers without a sentence of the expected label in which the move "
    "is stated",
    "placed": "share of right decisions on method and evidence: the move is anchored in a sentence "
    "with the expected label, or it is not stated and no sentence has this label",
}


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A comparison of anchors with the anchors of the gold, as arrays of shape (papers, moves).

    Attributes:
        right: True if the anchor shares a sentence with the gold anchor.
        nearest: True if the anchor is right, and both moves are nearest to the same sentence.
        compared: True if both annotations state the move, and the gold move has an anchor.
        unmatched: True if only the annotator states the move.
        confidence: the confidence of the move, or nan.
    """

    right: Flags
    nearest: Flags
    compared: Flags
    unmatched: Flags
    confidence: Floats


def statistics(annotator: Annotator, subject: Subject, measures: Measures) -> dict[Key, Statistic]:
    """Return the metrics of anchors, compared with the gold or with the labels of sentences.

    The keys are (metric, move) or (metric, `OVERALL`).
    """
    found: dict[Key, Statistic] = {}
    if subject.gold is not None:
        found |= _against_gold(annotator, subject, measures)
    if subject.labelled is not None:
        found |= _against_labels(annotator, subject, subject.labelled, measures)
    return found


def _against_gold(
    annotator: Annotator, subject: Subject, measures: Measures
) -> dict[Key, Statistic]:
    """Return the metrics of anchors, and the metrics of confidences if moves have confidences."""
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
    """Return the shares of right anchors by confidence, or None without confidences."""
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
    """Return the expected calibration error of moves (see the module docstring).

    Args:
        right: True if the anchor of the move is right; an array of shape (papers, moves).
        confidence: the confidence of the move, or nan; an array of the same shape.
        rated: True for the moves to include; an array of the same shape.
    """
    import numpy as np

    papers, moves = rated.nonzero()
    places = _bins(confidence[papers, moves])
    # Each row is a paper. For each bin, a column has the number of the right moves in the bin minus
    # the sum of the confidences in the bin. The last column has the number of rated moves.
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


def _bins(confidence: Floats) -> NDArray[np.intp]:
    """Return the index of the bin to which each confidence belongs.

    A bin includes its lower limit. The last bin also includes its upper limit, 1.
    """
    import numpy as np

    return np.digitize(confidence, np.arange(1, BINS) / BINS)


def anchor_labels(
    annotator: Annotator, subject: Subject, measures: Measures
) -> list[dict[str, str]]:
    """Return for each paper the label of the anchor of each stated move, by move.

    The abstract consists of the labelled sentences, separated by empty lines, so that
    `split_sentences` never joins two labelled sentences.
    """
    found: list[dict[str, str]] = []
    labelled = subject.labelled or ()
    for i, (paper, given) in enumerate(zip(subject.papers, labelled, strict=True)):
        moves = texts_of(annotator.answers[i].moves, subject.framework)
        split = split_labels(given)
        placed = measures.get(of_anchors, paper.abstract, moves, annotator.answers[i].anchors)
        found.append({name: split[one["nearest"] - 1] for name, one in placed.items()})
    return found


def split_labels(given: Labelled) -> list[str]:
    """Return the label of each sentence into which `split_sentences` divides the abstract.

    If a labelled sentence is divided, each part has the label of the sentence.
    """
    pairs = zip(given.sentences, given.labels, strict=True)
    return [label for sentence, label in pairs for _ in split_sentences(sentence)]


def _against_labels(
    annotator: Annotator, subject: Subject, labelled: Sequence[Labelled], measures: Measures
) -> dict[Key, Statistic]:
    """Return the metrics that compare anchors with the labels of sentences."""
    import numpy as np

    anchored = anchor_labels(annotator, subject, measures)
    predicted = stated(annotator.annotations, subject.framework)
    found: dict[Key, Statistic] = {}
    placed = np.zeros(len(labelled))
    for j, name in enumerate(subject.framework.names):
        flags = predicted[:, j]
        background = np.array([one.get(name) == BACKGROUND for one in anchored])
        found["background", name] = ratio(background, flags)
        if name not in EXPECTED:
            continue
        label = EXPECTED[name]
        right = np.array([one.get(name) == label for one in anchored])
        count = np.array([given.labels.count(label) for given in labelled])
        found["label_precision", name] = ratio(right, flags)
        found["label_prior", name] = ratio(count, np.array([len(g.labels) for g in labelled]))
        found["abstention", name] = kappa(flags, count > 0)
        found["false_fill", name] = ratio(flags & (count == 0), count == 0)
        placed += right | ~(flags | (count > 0))
    found["placed", OVERALL] = ratio(placed / len(EXPECTED), np.ones(len(labelled)))
    return found


def confusion(
    annotator: Annotator, subject: Subject, measures: Measures
) -> dict[str, dict[str, int]]:
    """Return the number of anchors with each label, by move, then by label."""
    counts = {name: dict.fromkeys(LABELS, 0) for name in subject.framework.names}
    for one in anchor_labels(annotator, subject, measures):
        for name, label in one.items():
            counts[name][label] += 1
    return counts
