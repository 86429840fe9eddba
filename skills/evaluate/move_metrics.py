"""Compute the metrics of an annotator, as statistics by metric and move.

Shares and similarities range from 0 to 1, and kappa from -1 to 1. Numbers of tokens are means over
the papers with an annotation. A statistic for `OVERALL` covers all moves together; for ROUGE-L and
chrF, it is the mean of the statistics of all moves (macro).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from skills.evaluate.annotators import SEEDS, TEMPERATURE, Annotator, Moves, Subject
from skills.evaluate.measures import Measures, of_agreement, of_annotation, of_repetition
from skills.evaluate.outputs import OVERALL, Answer
from skills.nanda.framework import Framework
from skills.reporting.statistics import Statistic, kappa, ratio

if TYPE_CHECKING:
    from skills.reporting.statistics import Flags, Floats, Values

Key = tuple[str, str]
"""The key of a statistic: (metric, move), or (metric, `OVERALL`) for all moves together."""

METRICS: Mapping[str, str] = {
    "valid": "share of papers whose first answer is a valid annotation, with the model's own "
    "constraint",
    "valid_freely": "share of papers whose first answer is valid and has the moves in order, "
    "without any constraint",
    "stated": "share of moves that are stated (completeness)",
    "precision": "share of the moves stated by the annotator that the gold states, too",
    "recall": "share of the moves stated by the gold that the annotator states, too",
    "kappa": "Cohen's kappa with the gold on whether a move is stated",
    "numbers": "share of stated moves whose numbers are all in the abstract",
    "names": "share of stated moves whose names are all in the abstract",
    "support": "share of the content words of a stated move that are in the abstract",
    "floor": "support measured with the abstract of another paper",
    "copied": "share of the words of a stated move that are copied from the abstract, five or "
    "more in a row",
    "overlap": "ROUGE-L F1 of a stated move with the most similar other move of its paper",
    "rouge_l": "ROUGE-L F1 with the gold, over papers whose annotation and gold state the move; 0 "
    "without such papers",
    "chrf": "chrF2 with the gold, over papers whose annotation and gold state the move; 0 without "
    "such papers",
    "agreement": "mean ROUGE-L F1 with the gold over a paper's stated moves; 0 for a move "
    "that only the annotator or only the gold states",
    "seeds": f"agreement among a paper's answers with {len(SEEDS)} seeds, at temperature "
    f"{TEMPERATURE}",
    "seeds_stated": "share of moves on which two seeds agree: both answers state the move, or "
    "neither does",
    "prompts": "agreement among a paper's answers to the usual prompt and to reworded prompts",
    "prompts_stated": "share of moves on which two prompts agree: both answers state the move, or "
    "neither does",
    "prompt_tokens": "tokens of the prompts of an annotated paper, including repairs",
    "completion_tokens": "tokens of the answers for an annotated paper, including repairs",
}
"""The meaning of each metric, in the order of a report."""


def statistics(annotator: Annotator, subject: Subject, measures: Measures) -> dict[Key, Statistic]:
    """Return the metrics of an annotator, except the metrics of anchors.

    Comparisons with the gold are left out if `subject` has no gold. Metrics of requests are left
    out if the annotator is a baseline.
    """
    import numpy as np

    predicted = stated(annotator.annotations, subject.framework)
    found = by_move("stated", predicted, np.ones_like(predicted), subject.framework)
    found |= _by_itself(annotator, subject, predicted, measures)
    if subject.gold is not None:
        found |= _against_gold(annotator, subject, subject.gold, predicted, measures)
    if annotator.facts is not None:
        found |= _of_requests(annotator.answers)
        found |= _consistency(annotator.answers, subject.framework, measures)
    return found


def stated(annotations: Sequence[Moves | None], framework: Framework) -> Flags:
    """Return an array of shape (papers, moves): True if the annotation states the move.

    The values of a paper without an annotation are False.
    """
    import numpy as np

    rows = [
        [moves is not None and moves[name] != framework.not_stated for name in framework.names]
        for moves in annotations
    ]
    return np.array(rows, bool).reshape(len(annotations), len(framework.names))


def texts_of(moves: Moves | None, framework: Framework) -> Moves:
    """Return the stated moves of an annotation, or {} if there is no annotation."""
    return framework.stated(moves) if moves else {}


def _by_itself(
    annotator: Annotator, subject: Subject, predicted: Flags, measures: Measures
) -> dict[Key, Statistic]:
    """Return the metrics that need no gold: faithfulness to the abstract, overlap of moves.

    Args:
        predicted: True for each stated move, as returned by `stated`.
    """
    abstracts = [paper.abstract for paper in subject.papers]
    count, framework = len(abstracts), subject.framework
    # The other abstract for "floor" is half the table plus one paper away, since the baseline
    # `other` copies the annotation of the paper that is half the table away.
    away = count // 2 + 1
    measured = [
        measures.get(
            of_annotation,
            abstracts[i],
            abstracts[(i + away) % count] if count > 2 else None,
            texts_of(moves, framework),
        )
        for i, moves in enumerate(annotator.annotations)
    ]
    found: dict[Key, Statistic] = {}
    for metric in ("numbers", "names", "support", "copied", "floor"):
        if metric in measured[0]:
            values: Values = _table([one[metric] for one in measured], framework)
            if metric in ("numbers", "names"):
                values = values > 0
            found |= by_move(metric, values, predicted, framework)
    values = _table([one["overlap"] for one in measured], framework)
    among = predicted & (predicted.sum(axis=1, keepdims=True) > 1)
    found |= by_move("overlap", values, among, framework)
    found["overlap", OVERALL] = ratio(values.max(axis=1), among.any(axis=1))
    return found


def _table(measured: Sequence[Mapping[str, float]], framework: Framework) -> Floats:
    """Return measures as an array of shape (papers, moves), with 0 for a missing measure."""
    import numpy as np

    return np.array([[one.get(name, 0.0) for name in framework.names] for one in measured], float)


def _against_gold(
    annotator: Annotator,
    subject: Subject,
    gold: Sequence[Moves],
    predicted: Flags,
    measures: Measures,
) -> dict[Key, Statistic]:
    framework = subject.framework
    expected = stated(gold, framework)
    both = predicted & expected
    found = by_move("precision", both, predicted, framework)
    found |= by_move("recall", both, expected, framework)
    found["kappa", OVERALL] = kappa(predicted, expected)
    for j, name in enumerate(framework.names):
        found["kappa", name] = kappa(predicted[:, j], expected[:, j])
    measured = [
        measures.get(of_agreement, texts_of(moves, framework), texts_of(given, framework))
        for moves, given in zip(annotator.annotations, gold, strict=True)
    ]
    for metric in ("rouge_l", "chrf"):
        values = _table([one[metric] for one in measured], framework)
        found |= by_move(metric, values, both, framework, empty=0.0)
        found[metric, OVERALL] = ratio(values, both, empty=0.0)
        if metric == "rouge_l":
            found["agreement", OVERALL] = _mean(per_paper(values, predicted | expected))
    return found


def per_paper(values: Floats, among: Flags) -> Floats:
    """Return for each paper the mean of its values, over the moves that are True in `among`.

    The mean is 1 for a paper without such moves, since two annotations that state no move agree.

    Args:
        values: the similarities; shape (papers, moves). Values outside `among` are 0.
        among: True for each move that at least one of two annotations states; the same shape.
    """
    import numpy as np

    counts = among.sum(axis=1)
    return np.where(counts > 0, values.sum(axis=1) / np.maximum(1, counts), 1.0)


def _of_requests(answers: Sequence[Answer]) -> dict[Key, Statistic]:
    """Return the shares of valid answers, and the mean numbers of tokens per paper."""
    import numpy as np

    found = {("valid", OVERALL): _mean(np.array([one.valid for one in answers], bool))}
    freely = [one.valid_freely for one in answers]
    if None not in freely:
        found["valid_freely", OVERALL] = _mean(np.array(freely, bool))
    tokens = np.array([one.tokens or (0, 0) for one in answers], float)
    answered = np.array([one.tokens is not None for one in answers], float)
    for place, metric in enumerate(("prompt_tokens", "completion_tokens")):
        found[metric, OVERALL] = ratio(tokens[:, place], answered)
    return found


def _mean(values: Values) -> Statistic:
    import numpy as np

    return ratio(values, np.ones(len(values), bool))


def by_move(
    metric: str, over: Values, under: Values, framework: Framework, empty: float = float("nan")
) -> dict[Key, Statistic]:
    """Return the ratio of `over` to `under` for each move, and for all moves together.

    Args:
        over: the numerators; shape (papers, moves).
        under: the denominators, in the same shape.
        empty: the value for a single move whose denominators are all 0.
    """
    found = {(metric, OVERALL): ratio(over.sum(axis=1), under.sum(axis=1))}
    for j, name in enumerate(framework.names):
        found[metric, name] = ratio(over[:, j], under[:, j], empty=empty)
    return found


def _consistency(
    answers: Sequence[Answer], framework: Framework, measures: Measures
) -> dict[Key, Statistic]:
    """Return the agreement of repeated annotations, for each kind of variation.

    The agreement is the mean over all pairs of annotations of a paper, and then over papers.
    """
    import numpy as np

    found: dict[Key, Statistic] = {}
    among = np.array([bool(one.again) for one in answers])
    for kind in dict.fromkeys(kind for one in answers for kind in one.again or {}):
        similar, same = np.zeros((2, len(answers)))
        for i, one in enumerate(answers):
            if one.again:
                pairs = [
                    _alike(first, second, framework, measures)
                    for first, second in combinations(one.again[kind], 2)
                ]
                similar[i], same[i] = np.mean(pairs, axis=0)
        found[kind, OVERALL] = ratio(similar, among)
        found[f"{kind}_stated", OVERALL] = ratio(same, among)
    return found


def _alike(
    first: Moves | None, second: Moves | None, framework: Framework, measures: Measures
) -> tuple[float, float]:
    """Return the similarity of two annotations, and the share of moves on which they agree.

    Two annotations agree on a move if both state the move, or neither does. If an annotation is
    missing, both figures are 0.
    """
    if not first or not second:
        return 0.0, 0.0
    stated, others = framework.stated(first), framework.stated(second)
    either, count = stated.keys() | others.keys(), len(framework.names)
    values = measures.get(of_repetition, stated, others)
    # As in `per_paper`, two annotations that state no move agree.
    similar = sum(values.values()) / len(either) if either else 1.0
    return similar, 1 - len(stated.keys() ^ others.keys()) / count
