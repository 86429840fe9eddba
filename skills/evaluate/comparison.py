"""Compare annotators on the same papers: compute their figures and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness._version import __version__
from skills.evaluate import measures, move_metrics, source_metrics
from skills.evaluate.annotators import Annotator, Subject, baseline, baselines
from skills.evaluate.inputs import papers_of, require_same_gold
from skills.evaluate.measures import Measures
from skills.evaluate.move_metrics import Key
from skills.evaluate.outputs import (
    OVERALL,
    Difference,
    Evaluated,
    Evaluation,
    Figures,
    Outcomes,
    WorstPaper,
)
from skills.reporting.statistics import (
    RESAMPLES,
    SEED,
    Figure,
    Resamples,
    Sampled,
    difference,
    estimate,
    unpaired_difference,
)

if TYPE_CHECKING:
    from skills.reporting.statistics import Floats

TIE = 0.01
"""Two annotators tie on a paper if their scores on the paper differ by at most this value."""
WORST = 10
"""Number of papers that a report shows with abstracts: the papers with the lowest scores."""


def of_models(
    subject: Subject,
    models: Sequence[Annotator],
    earlier: Annotator | Evaluation | None = None,
    measures: Measures | None = None,
) -> Evaluation:
    """Return all figures of a comparison of models, gold and baselines.

    Args:
        models: the models; the first model is compared with every other annotator.
        earlier: the model of an earlier evaluation, as an annotator or, if its annotations are
            unknown, as an evaluation of this model alone. The result lists this model after the
            first model.
        measures: the object that computes the measures; by default, measures are not stored.

    Raises:
        InputError: `earlier` is an evaluation with another gold.
    """
    first, measures = models[0], measures or Measures()
    rerun = [earlier] if isinstance(earlier, Annotator) else []
    everyone = [first, *rerun, *models[1:], *baselines(subject, first)]
    resamples = Resamples(len(subject.papers))
    statistics = [
        move_metrics.statistics(annotator, subject, measures)
        | source_metrics.statistics(annotator, subject, measures)
        for annotator in everyone
    ]
    sampled = [resamples.of_all(each) for each in statistics]
    score = "agreement" if subject.labelled is None else "placed"
    scores = [each[score, OVERALL].sums[:, 0] for each in statistics]
    compared = list(zip(everyone, sampled, scores, strict=True))
    gold = None
    if subject.gold is not None:
        annotator = baseline("gold", subject.gold)
        of_gold = move_metrics.statistics(annotator, replace(subject, gold=None), measures)
        gold = _figures(resamples.of_all(of_gold))
    used = {metric for each in sampled for metric, _ in each}
    used |= {"label_lift"} if "label_prior" in used else set()
    meanings = {**move_metrics.METRICS, **source_metrics.METRICS}
    found = Evaluation(
        **_about(subject),
        metrics={metric: meaning for metric, meaning in meanings.items() if metric in used},
        gold=gold,
        by_paper=papers_of(subject),
        score=score,
        annotators=[
            Evaluated(
                **_facts(annotator, subject, measures),
                metrics=_figures(each),
                score_by_paper=of_papers.round(4).tolist(),
            )
            for annotator, each, of_papers in compared
        ],
        differences=[
            Difference(
                first=first.name,
                other=other.name,
                paired=True,
                metrics=_differences(sampled[0], each),
                papers=_outcomes(score, scores[0] - of_papers),
            )
            for other, each, of_papers in compared[1:]
        ],
        worst=[
            WorstPaper(
                index=int(i),
                id=subject.papers[i].id,
                score=round(float(scores[0][i]), 4),
                moves=first.answers[i].moves,
            )
            for i in scores[0].argsort(kind="stable")[:WORST]
        ],
    )
    if isinstance(earlier, Evaluation):
        require_same_gold(earlier, found)
        [stored] = earlier.annotators
        found.differences.insert(0, _unpaired(found.annotators[0], stored))
        found.annotators.insert(1, stored)
    return found


def _unpaired(first: Evaluated, earlier: Evaluated) -> Difference:
    """Return the differences, `first` minus `earlier`, computed without annotations."""
    return Difference(
        first=first.name,
        other=earlier.name,
        paired=False,
        metrics={
            metric: {
                move: unpaired_difference(figure, earlier.metrics[metric][move])
                for move, figure in moves.items()
                if move in earlier.metrics[metric]
            }
            for metric, moves in first.metrics.items()
            if metric in earlier.metrics and metric != "label_prior"
        },
        papers=None,
    )


def _about(subject: Subject) -> dict[str, Any]:
    """Return the fields of an `Evaluation` that describe the input and the computation."""
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


def _facts(annotator: Annotator, subject: Subject, measures: Measures) -> dict[str, Any]:
    found: dict[str, Any] = {"name": annotator.name, "kind": annotator.kind}
    if annotator.facts is not None:
        found |= {**annotator.facts, "by_paper": annotator.answers}
    if subject.gold is not None and (
        table := source_metrics.reliability(annotator, subject, measures)
    ):
        found["reliability"] = table
    if subject.labelled is not None:
        found["anchors"] = source_metrics.confusion(annotator, subject, measures)
    return found


def _figures(sampled: Mapping[Key, Sampled]) -> Figures:
    found = _nested(sampled, lambda key: estimate(sampled[key]))
    for move in found.get("label_prior", {}):
        lift = difference(sampled["label_precision", move], sampled["label_prior", move])
        found.setdefault("label_lift", {})[move] = lift
    return found


def _differences(first: Mapping[Key, Sampled], other: Mapping[Key, Sampled]) -> Figures:
    shared = [key for key in first if key in other and key[0] != "label_prior"]
    return _nested(shared, lambda key: difference(first[key], other[key]))


def _nested(keys: Iterable[Key], of: Callable[[Key], Figure]) -> Figures:
    found: Figures = {}
    for metric, move in keys:
        found.setdefault(metric, {})[move] = of((metric, move))
    return found


def _outcomes(score: str, differences: Floats) -> Outcomes:
    won, lost = int((differences > TIE).sum()), int((differences < -TIE).sum())
    return Outcomes(score=score, win=won, tie=len(differences) - won - lost, loss=lost)
