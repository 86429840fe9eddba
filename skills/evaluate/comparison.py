"""The figures of a comparison: what `--json` prints, and what text, page and picture show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness._version import __version__
from skills.evaluate import (
    anchor_metrics,
    annotators,
    label_metrics,
    measures,
    move_metrics,
    stored_evaluation,
)
from skills.evaluate.annotators import Annotator, Subject
from skills.evaluate.measures import Measures
from skills.evaluate.move_metrics import OVERALL, Key
from skills.evaluate.resampling import (
    RESAMPLES,
    SEED,
    Resamples,
    Sampled,
    Statistic,
    difference,
    estimate,
    unpaired_difference,
)
from skills.evaluate.stored_evaluation import Figures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TIE = 0.01
"""Papers whose scores differ by no more than this are tied."""
WORST = 10
"""The number of papers that a report shows beside their abstracts."""


def of_models(
    subject: Subject,
    models: Sequence[Annotator],
    earlier: Annotator | Figures | None = None,
    measures: Measures | None = None,
) -> dict[str, Any]:
    """Return all figures of a comparison.

    Figures are {metric: {move: estimate}}, for each of `annotators`, models first, for the gold,
    and for the `differences` of the first annotator to each other one. `worst` has the papers with
    the first model's lowest scores.

    Args:
        earlier: the model of an earlier evaluation, which follows the first one.
        measures: those that are known already.

    Raises:
        InputError: the earlier evaluation has figures of another gold.
    """
    first, measures = models[0], measures or Measures()
    everyone, resamples = _everyone(subject, models, earlier), Resamples(len(subject.papers))
    statistics = [_statistics(annotator, subject, measures) for annotator in everyone]
    sampled = [resamples.of_all(each) for each in statistics]
    score = "agreement" if subject.labelled is None else "placed"
    scores = [each[score, OVERALL].sums[:, 0] for each in statistics]
    compared = list(zip(everyone, sampled, scores, strict=True))
    found = {
        **_about(subject),
        "metrics": _meanings(sampled),
        "gold": _gold(subject, resamples, measures),
        "by_paper": stored_evaluation.papers_of(subject),
        "score": score,
        "annotators": [
            _facts(annotator, subject, measures)
            | {"metrics": _figures(each), "score_by_paper": of_papers.round(4).tolist()}
            for annotator, each, of_papers in compared
        ],
        "differences": [
            {
                "first": first.name,
                "other": other.name,
                "paired": True,
                "metrics": _differences(sampled[0], each),
                "papers": {"score": score, **_outcomes(scores[0] - of_papers)},
            }
            for other, each, of_papers in compared[1:]
        ],
        "worst": _worst(subject, first, scores[0]),
    }
    return _with_figures(found, earlier) if isinstance(earlier, Figures) else found


def _everyone(
    subject: Subject, models: Sequence[Annotator], earlier: Annotator | Figures | None
) -> list[Annotator]:
    """Return the annotators that are compared: the models, an earlier one, and the baselines."""
    first, *others = models
    rerun = [earlier] if isinstance(earlier, Annotator) else []
    return [first, *rerun, *others, *annotators.baselines(subject, first)]


def _about(subject: Subject) -> dict[str, Any]:
    """Return what was compared, and how figures are computed."""
    framework = subject.framework
    moves = {move.name: move.label for move in framework.moves}
    return {
        "input": subject.source.name,
        "against": "gold" if subject.labelled is None else "sentence labels",
        "papers": len(subject.papers),
        "filtered": dict(subject.source.filtered),
        "framework": {**framework.identity, "moves": moves},
        "resamples": RESAMPLES,
        "seed": SEED,
        "harness": __version__,
        "libraries": measures.versions(),
    }


def _with_figures(found: dict[str, Any], earlier: Figures) -> dict[str, Any]:
    """Add a model with stored figures only: its differences are not paired by paper."""
    first, *others = found["annotators"]
    stored_evaluation.require_same_gold(
        earlier, stored_evaluation.gold_figures(found["gold"], first["metrics"])
    )
    figures = {name: of for name, of in earlier.metrics.items() if name in found["metrics"]}
    one = {**earlier.facts, "name": earlier.name, "kind": "stored", "metrics": figures}
    pair = {
        "first": first["name"],
        "other": earlier.name,
        "paired": False,
        "metrics": {
            metric: {
                move: unpaired_difference(figure, figures[metric][move])
                for move, figure in moves.items()
                if move in figures.get(metric, {})
            }
            for metric, moves in first["metrics"].items()
            if metric in figures and metric != "label_prior"
        },
        "papers": None,
    }
    differences = [pair, *found["differences"]]
    return {**found, "annotators": [first, one, *others], "differences": differences}


def _statistics(annotator: Annotator, subject: Subject, measures: Measures) -> dict[Key, Statistic]:
    found = move_metrics.statistics(annotator, subject, measures)
    if answers := annotator.answers:
        for kind, runs in answers.runs.items():
            found |= move_metrics.consistency_statistics(
                kind, runs, answers.included, subject.framework, measures
            )
    if subject.gold is not None:
        found |= anchor_metrics.statistics(annotator, subject, measures)
    if subject.labelled is not None:
        found |= label_metrics.statistics(annotator, subject, measures)
    return found


def _meanings(sampled: Sequence[Mapping[Key, Sampled]]) -> dict[str, str]:
    used = {metric for each in sampled for metric, _ in each}
    used |= {"label_lift"} if "label_prior" in used else set()
    every = {
        **move_metrics.METRICS,
        **anchor_metrics.METRICS,
        **move_metrics.CONSISTENCY_METRICS,
        **label_metrics.METRICS,
    }
    return {metric: meaning for metric, meaning in every.items() if metric in used}


def _gold(subject: Subject, resamples: Resamples, measures: Measures) -> dict[str, Any] | None:
    if subject.gold is None:
        return None
    gold = Annotator("gold", subject.gold)
    statistics = move_metrics.statistics(gold, replace(subject, gold=None), measures)
    return _figures(resamples.of_all(statistics))


def _facts(annotator: Annotator, subject: Subject, measures: Measures) -> dict[str, Any]:
    answers = annotator.answers
    found: dict[str, Any] = {"name": annotator.name, "kind": annotator.kind}
    if answers is not None:
        found |= {**answers.about, "failed": dict(answers.failed), "speed": dict(answers.speed)}
        found["by_paper"] = stored_evaluation.answers_of(annotator)
    if subject.gold is not None and (
        table := anchor_metrics.reliability(annotator, subject, measures)
    ):
        found["reliability"] = table
    if subject.labelled is not None:
        found["anchors"] = label_metrics.confusion(annotator, subject, measures)
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
