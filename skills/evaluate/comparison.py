"""The figures of a comparison: what `--json` prints, and what text, page and picture show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness._version import __version__
from skills.evaluate import annotators
from skills.evaluate.annotators import Annotator, Subject
from skills.evaluate.metrics import consistency, labels, metrics, similarity
from skills.evaluate.metrics.metrics import OVERALL, Key
from skills.evaluate.metrics.resampling import (
    RESAMPLES,
    SEED,
    Resamples,
    Sampled,
    Statistic,
    difference,
    estimate,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TIE = 0.01
"""Papers whose scores differ by no more than this are tied."""
WORST = 10
"""The number of papers that a report shows beside their abstracts."""


def of_models(subject: Subject, models: Sequence[Annotator]) -> dict[str, Any]:
    """Return all figures of a comparison.

    Figures are {metric: {move: estimate}}, for each of `annotators`, models first, for the gold,
    and for the `differences` of the first annotator to each other one. `worst` has the papers with
    the first model's lowest scores.
    """
    framework = subject.framework
    everyone = [*models, annotators.lead(subject.papers, framework)]
    if len(subject.papers) > 1:  # without gold, it is another paper's annotation by the first model
        everyone.append(annotators.other(subject.gold or models[0].annotations))
    resamples = Resamples(len(subject.papers))
    statistics = [_statistics(annotator, subject) for annotator in everyone]
    sampled = [_sampled(each, resamples) for each in statistics]
    score = "agreement" if subject.labelled is None else "placed"
    scores = [each[score, OVERALL].sums[:, 0] for each in statistics]
    return {
        "input": subject.source.name,
        "against": "gold" if subject.labelled is None else "sentence labels",
        "papers": len(subject.papers),
        "filtered": dict(subject.source.filtered),
        "framework": {
            **framework.identity,
            "moves": {move.name: move.label for move in framework.moves},
        },
        "resamples": RESAMPLES,
        "seed": SEED,
        "harness": __version__,
        "libraries": similarity.versions(),
        "metrics": _meanings(sampled),
        "gold": _gold(subject, resamples),
        "annotators": [
            {**_facts(annotator, subject), "metrics": _figures(each)}
            for annotator, each in zip(everyone, sampled, strict=True)
        ],
        "differences": [
            {
                "first": everyone[0].name,
                "other": everyone[place].name,
                "metrics": _differences(sampled[0], sampled[place]),
                "papers": {"score": score, **_outcomes(scores[0] - scores[place])},
            }
            for place in range(1, len(everyone))
        ],
        "worst": _worst(subject, models[0], scores[0]),
    }


def _statistics(annotator: Annotator, subject: Subject) -> dict[Key, Statistic]:
    found = metrics.statistics(annotator, subject)
    if answers := annotator.answers:
        for kind, runs in answers.runs.items():
            found |= consistency.statistics(kind, runs, answers.included, subject.framework)
    if subject.labelled is not None:
        found |= labels.statistics(annotator, subject)
    return found


def _sampled(statistics: Mapping[Key, Statistic], resamples: Resamples) -> dict[Key, Sampled]:
    return {key: resamples.of(statistic) for key, statistic in statistics.items()}


def _meanings(sampled: Sequence[Mapping[Key, Sampled]]) -> dict[str, str]:
    used = {metric for each in sampled for metric, _ in each}
    used |= {"label_lift"} if "label_prior" in used else set()
    every = {**metrics.METRICS, **consistency.METRICS, **labels.METRICS}
    return {metric: meaning for metric, meaning in every.items() if metric in used}


def _gold(subject: Subject, resamples: Resamples) -> dict[str, Any] | None:
    if subject.gold is None:
        return None
    gold = Annotator("gold", subject.gold)
    statistics = metrics.statistics(gold, replace(subject, gold=None))
    return _figures(_sampled(statistics, resamples))


def _facts(annotator: Annotator, subject: Subject) -> dict[str, Any]:
    answers = annotator.answers
    found: dict[str, Any] = {"name": annotator.name, "kind": "baseline"}
    if answers is not None:
        found |= {"kind": "model", **answers.about, "failed": dict(answers.failed)}
        found["speed"] = dict(answers.speed)
    if subject.labelled is not None:
        found["anchors"] = labels.confusion(annotator, subject)
    return found


def _figures(sampled: Mapping[Key, Sampled]) -> dict[str, dict[str, Any]]:
    found = _nested(sampled, lambda key: estimate(sampled[key]))
    for move in found.get("label_prior", {}):
        lift = difference(sampled["label_precision", move], sampled["label_prior", move])
        found.setdefault("label_lift", {})[move] = lift
    return found


def _differences(
    first: Mapping[Key, Sampled], other: Mapping[Key, Sampled]
) -> dict[str, dict[str, Any]]:
    shared = [key for key in first if key in other and key[0] != "label_prior"]
    return _nested(shared, lambda key: difference(first[key], other[key]))


def _nested(keys: Iterable[Key], of: Callable[[Key], Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for metric, move in keys:
        found.setdefault(metric, {})[move] = of((metric, move))
    return found


def _outcomes(differences: Floats) -> dict[str, int]:
    """Count the papers that the first annotator wins, ties and loses."""
    won, lost = int((differences > TIE).sum()), int((differences < -TIE).sum())
    return {"win": won, "tie": len(differences) - won - lost, "loss": lost}


def _worst(subject: Subject, model: Annotator, scores: Floats) -> list[dict[str, Any]]:
    """Return the papers with the lowest scores, the lowest first."""
    return [
        {
            "index": int(i),
            "id": subject.papers[i].id,
            "score": round(float(scores[i]), 4),
            "moves": model.annotations[i] and dict(model.annotations[i] or {}),
        }
        for i in scores.argsort(kind="stable")[:WORST]
    ]
