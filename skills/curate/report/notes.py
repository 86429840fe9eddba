"""What a reader of a run has to know before believing its figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skills.corpus.records import Annotated
from skills.curate.curator import FEWEST_MASS
from skills.curate.report.summary import Run

WEAK_AUROC = 0.7
"""Below it the panel is called weak: of a good and a bad annotation it takes the bad one for the
better in three of ten cases and more. The usual reading (Hosmer and Lemeshow 2000, Applied Logistic
Regression, p. 162) calls .7 to .8 acceptable."""
MUCH_INVALID = 0.1


def of_run(run: Run, summary: Mapping[str, Any], own: int) -> list[str]:
    """The notes, most important first.

    Args:
        own: annotations among those that were judged, which the judge itself has made.
    """
    return [
        *_bar(run),
        *_judge(summary),
        *_adds(summary),
        *_own(summary, own),
        *_form(run),
        *_invalid(run),
    ]


def made_by_the_judge(run: Run, judged: Iterable[Annotated]) -> int:
    """How many of the judged annotations come from the judge's own weights."""
    if run.judge is None:
        return 0
    weights = set(run.judge.model.digests.values())
    served = run.judge.model.resolution.chosen.serve
    count = 0
    for item in judged:
        provenance = item.record["provenance"]
        digests = set(provenance.get("digests", {}).values())
        same_name = (provenance.get("backend"), provenance.get("where")) == (
            served.backend,
            served.where,
        )
        count += bool(weights & digests) or (not weights and same_name)
    return count


def _bar(run: Run) -> Iterator[str]:
    known = run.bar.calibrated
    if run.judge is None or not run.judge.form.can_answer:
        return
    if known is None:
        yield (
            "uncalibrated: the thresholds are fixed defaults, which no annotations of yours have "
            "set (`/curate --calibrate TABLE --reject-rate 0.3`)"
        )
        return
    yield (
        f"calibrated on {known['input']} ({known['annotations']:,} annotations), so that gates and "
        f"panel reject {known['reject_rate']:.0%} of them (reached: {known['achieved']:.1%}): that "
        "rate is a chosen quota, and no finding"
    )
    if known["why"]:
        yield known["why"]


def _judge(summary: Mapping[str, Any]) -> Iterator[str]:
    """Whether the panel tells known-bad annotations from the input's, the gates set aside."""
    probes = summary["probes"]
    if not probes:
        yield (
            "no known-bad annotations could be made, since the gates let none of yours through: "
            "what the panel is worth is not known"
        )
        return
    auroc = probes["all"]["auroc"]
    if auroc["value"] is None:
        return
    value = f"AUROC {auroc['value']:.2f}, {auroc['low']:.2f} to {auroc['high']:.2f}"
    if auroc["high"] < 0.5:
        yield (
            f"this judge scores known-bad annotations above yours ({value}): what the panel "
            "rejects is worse than chance, and the gates alone do the work"
        )
    elif auroc["at_chance"] and auroc["high"] >= WEAK_AUROC:
        yield f"too few were judged to say whether this judge tells known-bad from yours ({value})"
    elif auroc["at_chance"]:
        yield (
            f"this judge does not tell known-bad annotations from yours ({value}): what the panel "
            "rejects is near to chance, and the gates alone do the work"
        )
    elif auroc["value"] < WEAK_AUROC:
        yield f"this judge is weak ({value} against known-bad annotations): see what it adds below"


def _adds(summary: Mapping[str, Any]) -> Iterator[str]:
    """Whether the panel rejects more of the known-bad that the gates let through than of yours."""
    lines = summary["probes"]["added"] if summary["probes"] else ()
    for line in lines:
        bad, good = line["caught"], line["cost"]
        if line["who"] != "panel" or not bad["of"] or not good["of"]:
            continue
        more = bad["share"] - good["share"]
        # Newcombe 1998, "Interval estimation for the difference", Statistics in Medicine 17,
        # method 10: the lower end, from the intervals of both shares.
        at_least = more - math.hypot(bad["share"] - bad["low"], good["high"] - good["share"])
        if at_least <= 0:
            yield (
                "of the known-bad annotations that the gates let through the panel rejects "
                f"{bad['count']:,} of {bad['of']:,}, of yours {good['count']:,} of "
                f"{good['of']:,}: luck alone could give that, so the panel is not shown to add "
                "anything"
            )


def _own(summary: Mapping[str, Any], own: int) -> Iterator[str]:
    if own:
        yield (
            f"{own:,} of {summary['judged']:,} judged annotations were made by the judge's own "
            "weights, and a model favours its own; --model names another judge"
        )


def _form(run: Run) -> Iterator[str]:
    form = run.judge.form if run.judge else None
    if form and form.mass is not None and not form.can_answer:
        yield (
            f"the judge cannot answer: {form.mass:.0%} of the probability lies on the answers, and "
            f"a vote needs {FEWEST_MASS:.0%}. The panel did not vote, and the gates alone decided; "
            "--model names another judge"
        )
    if form and form.kind == "json":
        yield (
            "the server tells no probabilities of tokens: each score is one answer, which has "
            "fewer steps and ties more often"
        )


def _invalid(run: Run) -> Iterator[str]:
    passes = [vote for verdict in run.judged for vote in verdict.passes]
    invalid = passes.count(None)
    if passes and invalid > MUCH_INVALID * len(passes):
        yield f"{invalid:,} of {len(passes):,} votes are invalid: {_why_invalid(run)}"


def _why_invalid(run: Run) -> str:
    if run.judge and run.judge.form.kind == "json":
        return "the model's reply was something else"
    return "the model was about to say something else"
