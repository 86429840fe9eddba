"""The comparison as figures: what `--json` prints, and what text and page are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness._version import __version__
from skills.evaluate import annotators
from skills.evaluate.annotators import Annotator
from skills.evaluate.inputs import Subject
from skills.evaluate.metrics import consistency, labels, metrics, similarity
from skills.evaluate.metrics.metrics import OVERALL, Key, Task
from skills.evaluate.metrics.resampling import (
    RESAMPLES,
    SEED,
    Resamples,
    Sampled,
    Statistic,
    difference,
    estimate,
)
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIE = 0.01
"""Papers whose scores differ by no more than this are a tie."""
WORST = 10
"""Papers that a report shows beside their abstracts."""


def baselines(
    subject: Subject, framework: Framework, models: Sequence[Annotator]
) -> list[Annotator]:
    """What needs no model. Without gold, the first model's annotations are those that are given to
    another paper; a single paper has no other."""
    found = [annotators.lead(subject.papers, framework)]
    if len(subject.papers) > 1:
        found.append(annotators.other(subject.gold or models[0].annotations))
    return found


def of_models(
    subject: Subject, framework: Framework, models: Sequence[Annotator]
) -> dict[str, Any]:
    """All figures of a comparison.

    Returns: input, papers, filtered, framework, resamples, seed, libraries; metrics, each with its
        meaning; gold: the share of moves that it states, by move; annotators, models first, and
        differences of the first to each other one, both as {metric: {move: estimate}}; worst: the
        first model's worst papers, by id.
    """
    task = Task(subject.papers, framework, subject.gold)
    everyone = [*models, *baselines(subject, framework, models)]
    resamples = Resamples(len(subject.papers))
    found = [_statistics(annotator, task, subject) for annotator in everyone]
    sampled = [{key: resamples.of(one) for key, one in each.items()} for each in found]
    score = "placed" if subject.labelled is not None else "agreement"
    scores = [_by_paper(each[score, OVERALL]) for each in found]
    return {
        "input": subject.source.name,
        "against": "sentence labels" if subject.labelled is not None else "gold",
        "papers": len(subject.papers),
        "filtered": dict(subject.source.filtered),
        "framework": {
            "name": framework.name,
            "version": framework.version,
            "digest": framework.digest,
            "moves": {move.name: move.label for move in framework.moves},
        },
        "resamples": RESAMPLES,
        "seed": SEED,
        "harness": __version__,
        "libraries": similarity.versions(),
        "metrics": dict(_meanings(sampled)),
        "gold": _gold(subject, framework, resamples),
        "annotators": [
            {**_told(annotator), **_anchored(annotator, task, subject), "metrics": _nested(each)}
            for annotator, each in zip(everyone, sampled, strict=True)
        ],
        "differences": [
            {
                "first": everyone[0].name,
                "other": everyone[place].name,
                "metrics": _differences(sampled[0], sampled[place]),
                "papers": {"score": score, **_outcomes(scores[0], scores[place])},
            }
            for place in range(1, len(everyone))
        ],
        "worst": _worst(subject, models[0], scores[0]),
    }


def _statistics(annotator: Annotator, task: Task, subject: Subject) -> dict[Key, Statistic]:
    found = metrics.statistics(annotator, task)
    repeated = annotator.answers.repeated if annotator.answers else None
    if repeated is not None:
        for kind, runs in repeated.runs.items():
            found |= consistency.statistics(kind, runs, repeated.asked, task.framework)
    if subject.labelled is not None:
        found |= labels.statistics(annotator, task, subject.labelled)
    return found


def _by_paper(statistic: Statistic) -> NDArray[np.float64]:
    """n: the score of each paper, 0 to 1."""
    import numpy as np

    return np.asarray(statistic.sums[:, 0])


def _meanings(sampled: Sequence[Mapping[Key, Sampled]]) -> dict[str, str]:
    used = {metric for each in sampled for metric, _ in each}
    used |= {"label_lift"} if "label_prior" in used else set()
    every = {**metrics.METRICS, **consistency.METRICS, **labels.METRICS}
    return {metric: meaning for metric, meaning in every.items() if metric in used}


def _gold(subject: Subject, framework: Framework, resamples: Resamples) -> dict[str, Any] | None:
    if subject.gold is None:
        return None
    task = Task(subject.papers, framework)
    found = metrics.statistics(Annotator("gold", subject.gold), task)
    return _nested({key: resamples.of(one) for key, one in found.items()})


def _told(annotator: Annotator) -> dict[str, Any]:
    answers = annotator.answers
    if answers is None:
        return {"name": annotator.name, "kind": "baseline"}
    pace = answers.pace
    rate = None if pace.per_minute is None else round(pace.per_minute, 1)
    return {
        "name": annotator.name,
        "kind": "model",
        **answers.about,
        "failed": dict(answers.failed),
        "speed": {"papers_per_minute": rate, "papers": pace.papers, "memory": pace.memory},
    }


def _anchored(annotator: Annotator, task: Task, subject: Subject) -> dict[str, Any]:
    if subject.labelled is None:
        return {}
    return {"anchors": labels.confusion(annotator, task, subject.labelled)}


def _nested(sampled: Mapping[Key, Sampled]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for (metric, move), one in sampled.items():
        found.setdefault(metric, {})[move] = estimate(one).as_dict()
    for move in found.get("label_prior", {}):
        lift = difference(sampled["label_precision", move], sampled["label_prior", move])
        found.setdefault("label_lift", {})[move] = lift.as_dict()
    return found


def _differences(
    first: Mapping[Key, Sampled], other: Mapping[Key, Sampled]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key in first:
        if key in other and key[0] != "label_prior":
            metric, move = key
            of_it = difference(first[key], other[key]).as_dict()
            found.setdefault(metric, {})[move] = of_it
    return found


def _outcomes(first: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, int]:
    apart = first - other
    return {
        "win": int((apart > TIE).sum()),
        "tie": int((abs(apart) <= TIE).sum()),
        "loss": int((apart < -TIE).sum()),
    }


def _worst(subject: Subject, model: Annotator, scores: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The papers of the least score, the least first; equal ones in the order of the table."""
    import numpy as np

    return [
        {
            "index": int(i),
            "id": subject.papers[i].id,
            "score": round(float(scores[i]), 4),
            "moves": model.annotations[i] and dict(model.annotations[i] or {}),
        }
        for i in np.argsort(scores, kind="stable")[:WORST]
    ]
