"""What is measured of an annotator, as statistics by metric and move.

Shares, kappas and similarities are 0 to 1 (kappa from -1), tokens are a paper's mean. "overall"
is over all moves together, but of ROUGE-L and chrF the mean of the moves' own values (macro).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skills.evaluate.annotators import Annotator, Answers, Moves
from skills.evaluate.metrics.resampling import Statistic, kappa, ratio
from skills.evaluate.metrics.similarity import chrf, rouge_l
from skills.nanda.checks import copied, support, unsupported_numbers
from skills.nanda.framework import Framework
from skills.nanda.named_entities import unsupported_names
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Values = Floats | Flags

OVERALL = "overall"
Key = tuple[str, str]
"""A metric and a move, or `OVERALL`."""
Measure = Callable[[int, str, str], float]
"""Takes a paper's index, a move and its text."""

METRICS: Mapping[str, str] = {
    "valid": "papers whose first answer is a valid annotation, under the model's own constraint",
    "valid_freely": "papers whose first answer is valid and in order without any constraint",
    "stated": "moves that are stated (completeness)",
    "precision": "of the moves it states, those that the gold states",
    "recall": "of the moves that the gold states, those that it states",
    "kappa": "Cohen's kappa of stated or not, against the gold",
    "numbers": "stated moves without a number that the abstract lacks",
    "names": "stated moves without a name that the abstract lacks",
    "support": "content words of a stated move that the abstract has",
    "floor": "the same against the abstract of another paper: what support is by chance",
    "copied": "words of a stated move in runs of five that the abstract has too",
    "overlap": "the highest ROUGE-L F1 of a stated move to another one of its paper",
    "rouge_l": "ROUGE-L F1 to the gold, where both state the move; 0 where they never do",
    "chrf": "chrF2 to the gold, likewise",
    "agreement": "ROUGE-L F1 of a paper's moves that either states, 0 where only one does",
    "prompt_tokens": "tokens of a paper's prompts, repairs included, if it has an annotation",
    "completion_tokens": "tokens of a paper's answers, repairs included, if it has an annotation",
}
"""Every metric with its meaning, in the order of a report."""


@dataclass(frozen=True, slots=True)
class Task:
    """Papers, what the moves are, and the gold where there is one, in the order of the papers."""

    papers: Sequence[Paper]
    framework: Framework
    gold: Sequence[Moves] | None = None


def statistics(annotator: Annotator, task: Task) -> dict[Key, Statistic]:
    """All that can be measured of an annotator."""
    said = stated(annotator.annotations, task.framework)
    found = _faithfulness(annotator, task, said)
    found |= _by_move("stated", said, _all(said), task.framework)
    found |= _distinctness(annotator, task.framework, said)
    if task.gold is not None:
        found |= _against_gold(annotator, task, task.gold, said)
    if annotator.answers is not None:
        found |= _answers(annotator.answers)
    return found


def stated(annotations: Sequence[Moves | None], framework: Framework) -> Flags:
    """n by moves: which are stated. A paper without an annotation states none."""
    import numpy as np

    rows = [
        [moves is not None and moves[name] != framework.not_stated for name in framework.names]
        for moves in annotations
    ]
    return np.array(rows, bool).reshape(len(annotations), len(framework.names))


def measured(
    annotations: Sequence[Moves | None], flags: Flags, framework: Framework, of: Measure
) -> Floats:
    """n by moves: what `of` says of a paper's move where `flags` is set, else 0."""
    import numpy as np

    values = np.zeros(flags.shape)
    for i, moves in enumerate(annotations):
        for j, name in enumerate(framework.names):
            if flags[i, j] and moves is not None:
                values[i, j] = of(i, name, moves[name])
    return values


def _faithfulness(annotator: Annotator, task: Task, said: Flags) -> dict[Key, Statistic]:
    abstracts = [paper.abstract for paper in task.papers]
    count = len(abstracts)
    measures: dict[str, Measure] = {
        "numbers": lambda i, _, text: not unsupported_numbers(abstracts[i], text),
        "names": lambda i, _, text: not unsupported_names(abstracts[i], text),
        "support": lambda i, _, text: support(abstracts[i], text),
        "copied": lambda i, _, text: copied(abstracts[i], text),
    }
    if count > 2:
        # One further than half the table: there is the paper whose annotation the baseline gives.
        away = count // 2 + 1
        measures["floor"] = lambda i, _, text: support(abstracts[(i + away) % count], text)
    found: dict[Key, Statistic] = {}
    for metric, measure in measures.items():
        values: Values = measured(annotator.annotations, said, task.framework, measure)
        if metric in ("numbers", "names"):
            values = values > 0
        found |= _by_move(metric, values, said, task.framework)
    return found


def _distinctness(annotator: Annotator, framework: Framework, said: Flags) -> dict[Key, Statistic]:
    """How much a move says again of what another one does; of papers that state two or more."""
    annotations = annotator.annotations
    among = said & (said.sum(axis=1, keepdims=True) > 1)

    def highest(i: int, move: str, text: str) -> float:
        stated_moves = framework.stated(dict(annotations[i] or {}))
        return max(rouge_l(text, other) for name, other in stated_moves.items() if name != move)

    values = measured(annotations, among, framework, highest)
    found = _by_move("overlap", values, among, framework)
    found["overlap", OVERALL] = ratio(values.max(axis=1), among.any(axis=1))
    return found


def _against_gold(
    annotator: Annotator, task: Task, gold: Sequence[Moves], said: Flags
) -> dict[Key, Statistic]:
    framework = task.framework
    true = stated(gold, framework)
    both = said & true
    found = _by_move("precision", both, said, framework)
    found |= _by_move("recall", both, true, framework)
    found["kappa", OVERALL] = kappa(said, true)
    for j, name in enumerate(framework.names):
        found["kappa", name] = kappa(said[:, j], true[:, j])
    for metric, alike in (("rouge_l", rouge_l), ("chrf", chrf)):
        values = measured(
            annotator.annotations,
            both,
            framework,
            lambda i, move, text, alike=alike: alike(text, gold[i][move]),  # type: ignore[misc]
        )
        found[metric, OVERALL] = ratio(values, both, empty=0.0)
        for j, name in enumerate(framework.names):
            found[metric, name] = ratio(values[:, j], both[:, j], empty=0.0)
        if metric == "rouge_l":
            shares = per_paper(values, said | true)
            found["agreement", OVERALL] = ratio(shares, _all(shares))
    return found


def per_paper(values: Floats, among: Flags) -> Floats:
    """n: the mean of a paper's values over the moves `among` it; 1 where there are none, since two
    who both state nothing agree."""
    import numpy as np

    counts = among.sum(axis=1)
    return np.where(counts > 0, values.sum(axis=1) / np.maximum(1, counts), 1.0)


def _answers(answers: Answers) -> dict[Key, Statistic]:
    import numpy as np

    valid = np.array(answers.valid, bool)
    found = {("valid", OVERALL): ratio(valid, _all(valid))}
    if answers.valid_freely is not None:
        freely = np.array(answers.valid_freely, bool)
        found["valid_freely", OVERALL] = ratio(freely, _all(freely))
    there = np.array([tokens is not None for tokens in answers.tokens], float)
    for place, metric in enumerate(("prompt_tokens", "completion_tokens")):
        counts = np.array([tokens[place] if tokens else 0 for tokens in answers.tokens], float)
        found[metric, OVERALL] = ratio(counts, there)
    return found


def _by_move(
    metric: str, over: Values, under: Values, framework: Framework
) -> dict[Key, Statistic]:
    """The ratio for each move, and over all moves together."""
    found = {(metric, OVERALL): ratio(over.sum(axis=1), under.sum(axis=1))}
    for j, name in enumerate(framework.names):
        found[metric, name] = ratio(over[:, j], under[:, j])
    return found


def _all(values: Values) -> Flags:
    import numpy as np

    return np.ones(values.shape, bool)
