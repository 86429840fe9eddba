"""The notes of a report: what a reader has to know to interpret its figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skills.corpus.records import Annotated
from skills.curate.panel.vote_mode import FEWEST_MASS
from skills.curate.report.summary import Run

WEAK_AUROC = 0.7
"""Below it the panel is called weak: it prefers the bad one of a good and a bad annotation in at
least three of ten cases. The usual interpretation (Hosmer and Lemeshow 2000, Applied Logistic
Regression, p. 162) calls .7 to .8 acceptable."""
MUCH_INVALID = 0.1


def of_run(run: Run, summary: Mapping[str, Any], own: int) -> list[str]:
    """Return the notes, most important first.

    Args:
        own: number of judged annotations that the judge itself has made.
    """
    return [
        *_thresholds(run),
        *_judge(summary),
        *_votes(run, summary, own),
    ]


def made_by_the_judge(run: Run, judged: Iterable[Annotated]) -> int:
    """Count the judged annotations that were made by the judge's own weights."""
    if run.judge is None:
        return 0
    model = run.judge.model
    weights, served = set(model.digests.values()), model.resolution.chosen.serve

    def is_own(made_by: Mapping[str, Any]) -> bool:
        if weights:
            return bool(weights & set(made_by.get("digests", {}).values()))
        return (made_by.get("backend"), made_by.get("where")) == (served.backend, served.where)

    return sum(is_own(item.record["provenance"]) for item in judged)


def _thresholds(run: Run) -> Iterator[str]:
    known = run.criteria.calibrated
    if run.judge is None or not run.judge.form.can_answer:
        return
    if known is None:
        yield (
            "uncalibrated: the thresholds are defaults, not set on your annotations "
            "(`/curate --calibrate TABLE --reject-rate 0.3`)"
        )
        return
    yield (
        f"calibrated on {known['input']} ({known['annotations']:,} annotations), so that gates and "
        f"panel reject {known['reject_rate']:.0%} of them (reached: {known['achieved']:.1%}): this "
        "rate is a quota that was chosen, not a finding"
    )
    if known["why"]:
        yield known["why"]


def _judge(summary: Mapping[str, Any]) -> Iterator[str]:
    """Note whether the panel, without the gates, separates the probes from the input."""
    probes = summary["probes"]
    if not probes:
        yield (
            "no known-bad annotations could be made, since none of yours passes the gates: the "
            "quality of the panel is not known"
        )
        return
    auroc = probes["all"]["auroc"]
    few = (
        "too few annotations were judged to know whether this judge separates known-bad ones from "
    )
    if auroc["value"] is None:
        if summary["judged"]:
            yield f"{few}yours"
        return
    value = f"AUROC {auroc['value']:.2f}, {auroc['low']:.2f} to {auroc['high']:.2f}"
    if auroc["high"] < 0.5:
        yield (
            f"this judge scores known-bad annotations above yours ({value}): the panel is worse "
            "than chance, and only the gates are useful"
        )
    elif auroc["at_chance"] and auroc["high"] >= WEAK_AUROC:
        yield f"{few}yours ({value})"
    elif auroc["at_chance"]:
        yield (
            f"this judge does not separate known-bad annotations from yours ({value}): the panel "
            "is near chance, and only the gates are useful"
        )
    elif auroc["value"] < WEAK_AUROC:
        yield f"this judge is weak ({value} against known-bad annotations): see what it adds below"


def _votes(run: Run, summary: Mapping[str, Any], own: int) -> Iterator[str]:
    """Note what limits the votes: the judge's own annotations, its form, and invalid votes."""
    if run.judge is None:
        return
    if own:
        yield (
            f"{own:,} of {summary['judged']:,} judged annotations were made by the judge's own "
            "weights, and a model favours its own; --model names another judge"
        )
    form = run.judge.form
    if form.mass is not None and not form.can_answer:
        yield (
            f"the judge cannot answer: {form.mass:.0%} of the probability lies on the answers, and "
            f"a vote needs {FEWEST_MASS:.0%}. The panel did not vote, and the gates alone decided; "
            "--model names another judge"
        )
    why = "the model was about to write something else than an answer"
    if form.kind == "json":
        why = "the reply was something else than an answer"
        yield (
            "the server returns no token probabilities: each score is one answer, with fewer steps "
            "and more ties"
        )
    passes = [vote for verdict in run.judged for vote in verdict.passes]
    if (invalid := passes.count(None)) > MUCH_INVALID * len(passes):
        yield f"{invalid:,} of {len(passes):,} votes are invalid: {why}"
