"""Comparison with human labels: what kind of sentence a move comes from.

CSAbstruct (Cohan et al. 2019, "Pretrained Language Models for Sequential Sentence Classification")
labels each sentence of an abstract. The label of a move's anchor is compared with the one expected
for the move; if the anchor has several sentences, that of the nearest one
(`skills.nanda.checks.source_sentence`).
"""

from __future__ import annotations

from skills.evaluate.annotators import Annotator, Labelled, Subject
from skills.evaluate.measures import Measures, of_anchors
from skills.evaluate.move_metrics import Key, stated, texts_of
from skills.evaluate.outputs import OVERALL
from skills.nanda.sentences import split_sentences
from skills.reporting.statistics import Statistic, kappa, ratio

LABELS = ("background", "objective", "method", "result", "other")
BACKGROUND = "background"
EXPECTED = {"method": "method", "evidence": "result"}
"""The moves with a label of their own, and that label."""

METRICS = {
    "label_precision": "anchors of the move with the expected label (method: method, evidence: "
    "result)",
    "label_prior": "sentences with that label: the precision of a random anchor",
    "label_lift": "label_precision minus label_prior",
    "background": "anchors of the move labelled background: prior work presented as own",
    "abstention": "Cohen's kappa of stated or not, against whether a sentence has the label",
    "false_fill": "of the papers without a sentence of the label, those that state the move",
    "placed": "of method and evidence, those anchored in a sentence of the label, or not stated if "
    "there is none",
}


def anchors(annotator: Annotator, subject: Subject, measures: Measures) -> list[dict[str, str]]:
    """Return, for each paper, the labels of the anchors of the stated moves.

    The abstract of a paper is its sentences with empty lines between them, so that no sentence of
    `split_sentences` crosses two of them.
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
    """Return the label of each sentence of `split_sentences`, which may split a labelled one."""
    pairs = zip(given.sentences, given.labels, strict=True)
    return [label for sentence, label in pairs for _ in split_sentences(sentence)]


def statistics(annotator: Annotator, subject: Subject, measures: Measures) -> dict[Key, Statistic]:
    """Return all metrics that need labels."""
    import numpy as np

    labelled = subject.labelled or ()
    anchored = anchors(annotator, subject, measures)
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
    """Return the number of anchors of each move by label."""
    counts = {name: dict.fromkeys(LABELS, 0) for name in subject.framework.names}
    for one in anchors(annotator, subject, measures):
        for name, label in one.items():
            counts[name][label] += 1
    return counts
