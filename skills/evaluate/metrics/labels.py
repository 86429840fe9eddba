"""The check from outside: what kind of sentence a move comes from, by the labels people gave them.

CSAbstruct (Cohan et al. 2019, "Pretrained Language Models for Sequential Sentence Classification")
labels each sentence of an abstract. A move is anchored in the sentence it is nearest to
(`skills.nanda.checks.source_sentence`), and that sentence's label is held against what the move
should come from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skills.evaluate.annotators import Annotator
from skills.evaluate.metrics.metrics import OVERALL, Key, Task, stated
from skills.evaluate.metrics.resampling import Statistic, kappa, ratio
from skills.nanda.checks import source_sentence
from skills.nanda.sentences import split_sentences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LABELS = ("background", "objective", "method", "result", "other")
BACKGROUND = "background"
EXPECTED = {"method": "method", "evidence": "result"}
"""The moves that have a label of their own, with it."""

METRICS = {
    "label_precision": "anchors of the move whose label is the expected one (method: method, "
    "evidence: result)",
    "label_prior": "sentences with that label: the precision of an anchor chosen blindly",
    "label_lift": "label_precision less label_prior",
    "background": "anchors of the move that are labelled background: prior work taken as own",
    "abstention": "Cohen's kappa of stated or not, against whether a sentence has the label",
    "false_fill": "of the papers without a sentence of the label, those whose move is stated",
    "placed": "of method and evidence, those anchored in a sentence of the label, or not stated "
    "where there is none",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """The sentences of an abstract with their labels."""

    sentences: tuple[str, ...]
    labels: tuple[str, ...]

    def has(self, label: str) -> bool:
        return label in self.labels


def anchors(annotator: Annotator, task: Task, labelled: Sequence[Labelled]) -> list[dict[str, str]]:
    """Of each paper, the label of the sentence that each stated move is anchored in.

    The abstract of a paper is its sentences with empty lines between them, so that no sentence of
    `split_sentences` reaches over two of them.
    """
    found: list[dict[str, str]] = []
    for paper, moves, given in zip(task.papers, annotator.annotations, labelled, strict=True):
        if moves is None:
            found.append({})
            continue
        owners = _owners(given)
        found.append(
            {
                name: given.labels[owners[source_sentence(paper.abstract, text)["index"]]]
                for name, text in task.framework.stated(dict(moves)).items()
            }
        )
    return found


def statistics(
    annotator: Annotator, task: Task, labelled: Sequence[Labelled]
) -> dict[Key, Statistic]:
    """All that the labels tell of an annotator."""
    import numpy as np

    anchored = anchors(annotator, task, labelled)
    said = stated(annotator.annotations, task.framework)
    found: dict[Key, Statistic] = {}
    placed = np.zeros(len(labelled))
    for j, name in enumerate(task.framework.names):
        flags = said[:, j]
        background = np.array([one.get(name) == BACKGROUND for one in anchored])
        found["background", name] = ratio(background, flags)
        if name not in EXPECTED:
            continue
        label = EXPECTED[name]
        right = np.array([one.get(name) == label for one in anchored])
        among = np.array([given.labels.count(label) for given in labelled], float)
        count = np.array([len(given.labels) for given in labelled], float)
        has = np.array([given.has(label) for given in labelled])
        found["label_precision", name] = ratio(right, flags)
        found["label_prior", name] = ratio(among, count)
        found["abstention", name] = kappa(flags, has)
        found["false_fill", name] = ratio(flags & ~has, ~has)
        placed += right | ~(flags | has)
    found["placed", OVERALL] = ratio(placed / len(EXPECTED), np.ones(len(labelled)))
    return found


def confusion(
    annotator: Annotator, task: Task, labelled: Sequence[Labelled]
) -> dict[str, dict[str, int]]:
    """How many anchors of each move have each label."""
    counts = {name: dict.fromkeys(LABELS, 0) for name in task.framework.names}
    for one in anchors(annotator, task, labelled):
        for name, label in one.items():
            counts[name][label] += 1
    return counts


@functools.lru_cache(maxsize=1024)
def _owners(given: Labelled) -> tuple[int, ...]:
    """For each sentence of `split_sentences`, the labelled one that it is of."""
    return tuple(i for i, text in enumerate(given.sentences) for _ in split_sentences(text))
