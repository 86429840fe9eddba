"""Write the report of a run as text for a terminal: verdict, notes and tables."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.terminal.rendering import table
from skills.corpus.records import Annotated
from skills.curate.outputs import FEWEST_MASS, Curation, PanelFigures, ProbeFigures, VoteForm
from skills.curate.run_summary import Run
from skills.nanda.text import counted
from skills.reporting.outputs import MORE

WIDTH = 96
NAMED_BORDERLINE = 5
WEAK_AUROC = 0.7
"""AUROC below which the panel is called weak.

Such a panel prefers the bad annotation in more than three of ten pairs of a good and a bad
annotation. By convention, .7 to .8 is acceptable (Hosmer and Lemeshow 2000, Applied Logistic
Regression, p. 162).
"""
MUCH_INVALID = 0.1
"""Share of invalid votes above which the report has a note about invalid votes."""


def text(summary: Curation, *, details: bool = False, is_saved: bool = False) -> str:
    """Return the report of a run, which begins with the verdict of the run.

    Args:
        details: True to include the figures of the personas, the panel and the probes.
        is_saved: True if the result is saved, so that the advice to save it is left out.
    """
    outcome, panel = summary.verdict
    judge = summary.judge
    used = "judge: none was needed, since the gates left nothing to judge"
    if judge.form:
        used = (
            f"judge: {judge.model} ({judge.served}), {form_text(judge.form)}; "
            f"{judge.min_votes} of {len(judge.thresholds)} votes keep"
        )
    notes = (textwrap.fill(f"! {note}", WIDTH, subsequent_indent="  ") for note in summary.notes)
    blocks = ["\n".join((outcome, textwrap.fill(panel, WIDTH), used, *notes))]
    lost: list[str] = []
    for one in summary.not_kept:
        paper = f"{one.decision}: {one.id} {one.title}"
        lost.append(textwrap.shorten(paper, WIDTH, placeholder=" ..."))
        for why in one.details:
            lost.append(textwrap.fill(why, WIDTH, initial_indent="  ", subsequent_indent="    "))
    if summary.annotations - summary.kept - summary.pending > len(summary.not_kept):
        hint = " `save to FILE` writes all of them to a table, STEM_rejected.csv."
        lost.append("..." if is_saved else f"...{hint}")
    blocks += ["\n".join(lost)] * bool(lost)
    if summary.gates:
        rows = [(code, f"{count:,}") for code, count in summary.gates.items()]
        blocks.append(table(("rejected by the gates for", "annotations"), rows))
    if not details:
        return "\n\n".join((*blocks, MORE))
    if summary.panel:
        blocks += [_personas(summary.panel), "\n".join(_agreement(summary.panel))]
    if summary.probes:
        blocks += [_rejected_probes(summary.probes), _added(summary.probes)]
    return "\n\n".join(blocks)


def form_text(form: VoteForm) -> str:
    """Return a clause about the form of the votes, such as "votes by one token at once"."""
    if form.kind == "json":
        return "votes as JSON"
    after = f"after {form.prefill!r}" if form.prefill else "at once"
    if form.mass is None:
        return f"votes by one token {after}"
    votes = "votes" if form.can_answer else "cannot vote"
    measured = f", measured on {form.items:,}" if form.items else ""
    return f"{votes} by one token {after} ({form.mass:.0%} of the probability on answers{measured})"


def _personas(panel: PanelFigures) -> str:
    rows = [
        (
            one.name,
            one.passed,
            f"{one.threshold:.3f}",
            "" if one.mean is None else f"{one.mean:.3f}",
            "" if one.mass is None else f"{one.mass:.2f}",
            one.invalid,
            one.weight["deciding"],
            one.auroc,
        )
        for one in panel.personas
    ]
    head = ("persona", "passed", "from", "mean", "mass", "invalid", "decides", "AUROC on probes")
    return table(head, rows)


def _agreement(panel: PanelFigures) -> Iterator[str]:
    votes = (f"{split} {count:,}" for split, count in panel.splits.items() if count)
    yield f"votes: {', '.join(votes)}"
    yield (
        f"agreement (Krippendorff's alpha): votes {panel.alpha['votes']}, "
        f"scores {panel.alpha['scores']}"
    )
    effective = panel.effective_votes
    figure = "n/a" if effective is None else f"{effective:.1f}"
    yield f"effective votes: {figure} of {len(panel.personas)}"
    rho, p = panel.length["value"], panel.length["p"]
    shown = "n/a"
    if rho is not None and p is not None:
        shown = f"{rho:.2f} ({'p < 0.001' if p < 0.001 else f'p = {p:.3f}'})"
    yield f"score and length of the annotation (Spearman's rho): {shown}"
    against = panel.vote_against_mean
    yield f"votes and mean score decide differently: {against['count']:,} of {against['of']:,}"
    borderline = panel.borderline
    if borderline.of:
        named = ", ".join(
            f"{one.id} ({one.votes} votes, {one.distance:.3f} off)"
            for one in borderline.closest[:NAMED_BORDERLINE]
        )
        yield textwrap.fill(
            f"to be checked by a person: {borderline.of:,} near the threshold, first {named}",
            WIDTH,
            subsequent_indent="  ",
        )


def _rejected_probes(probes: ProbeFigures) -> str:
    kinds = {**probes.kinds, "all of these": probes.all, **probes.subtle}
    rows = [(kind, one.gates, one.panel, one.together, one.auroc) for kind, one in kinds.items()]
    head = ("known-bad, rejected by", "gates", "panel alone", "together", "panel's AUROC")
    return table(head, rows)


def _added(probes: ProbeFigures) -> str:
    rows = [
        (
            line.who,
            line.caught,
            line.cost,
            "" if line.edge is None else f"{line.edge:+.2f}",
            "" if line.alone is None else line.alone,
        )
        for line in probes.added
    ]
    head = ("what each adds to the gates", "known-bad caught", "yours rejected", "edge", "alone")
    return table(head, rows)


def verdict_of(summary: Curation) -> list[str]:
    """Return two sentences: the number of each decision, and a verdict on the panel.

    Of the annotations that pass the gates, the panel should reject a larger share of the known-bad
    annotations than of the input. The second sentence states whether the panel does.
    """
    failed = summary.probes.failed if summary.probes else 0
    redo = "(--retry-failed retries them)"
    optional = (
        (summary.undecided, "left undecided by invalid votes"),
        (summary.failed, f"failed {redo}"),
        (failed, f"of the probes failed {redo}"),
        (summary.pending, "not judged yet"),
        *((count, f"left out ({why})") for why, count in summary.filtered.items()),
    )
    parts = [
        f"{summary.input}: {counted(summary.annotations, 'annotation')}: {summary.kept:,} kept",
        f"{summary.rejected:,} rejected ({summary.gated:,} by the gates, "
        f"{summary.rejected - summary.gated:,} by the panel)",
        *(f"{count:,} {what}" for count, what in optional if count),
    ]
    return [", ".join(parts), _verdict_on_panel(summary)]


def _verdict_on_panel(summary: Curation) -> str:
    form, probes = summary.judge.form, summary.probes
    if form is None:
        return "The panel was not needed: the gates left nothing to judge."
    if not form.can_answer:
        return "The panel did not vote, since the judge cannot answer: the gates alone decided."
    line = next((one for one in probes.added if one.who == "panel"), None) if probes else None
    if line is None or line.caught.value is None or line.cost.value is None:
        return (
            "What the panel adds to the gates is not known: no known-bad annotation that passes "
            "the gates was judged."
        )
    bad, good = line.caught, line.cost
    found = (
        f"of the annotations that pass the gates, it rejected {bad.count:,} of {bad.of:,} "
        f"known-bad ones and {good.count:,} of {good.of:,} of yours"
    )
    # The distance from the difference of the two shares to the lower end of its interval, by method
    # 10 of Newcombe 1998, "Interval estimation for the difference", Statistics in Medicine 17.
    spread = math.hypot(line.caught.value - bad.low, good.high - line.cost.value)
    if line.caught.value - line.cost.value > spread:
        return f"The panel adds to the gates: {found}."
    return f"The panel is not shown to add anything to the gates: {found}, which could be chance."


def notes_of(run: Run, summary: Curation, own: int) -> list[str]:
    """Return notes on the interpretation of the figures, the most important first.

    Args:
        own: number of judged annotations that the judge itself made.
    """
    return [*_on_thresholds(run), *_on_separation(summary), *_on_votes(run, summary, own)]


def made_by_the_judge(run: Run, judged: Iterable[Annotated]) -> int:
    """Return the number of judged annotations that the model of the judge has made."""
    if run.judge is None:
        return 0
    model = run.judge.model
    weights, served = set(model.digests.values()), model.resolution.chosen.serve

    def is_own(made_by: Mapping[str, Any]) -> bool:
        if weights:
            return bool(weights & set(made_by.get("digests", {}).values()))
        return (made_by.get("backend"), made_by.get("where")) == (served.backend, served.where)

    return sum(is_own(item.record["provenance"]) for item in judged)


def _on_thresholds(run: Run) -> Iterator[str]:
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


def _on_separation(summary: Curation) -> Iterator[str]:
    """Yield a note if the separation of probes and input by their scores is weak or unknown."""
    probes = summary.probes
    if not probes:
        yield (
            "no known-bad annotations could be made, since none of yours passes the gates: the "
            "quality of the panel is not known"
        )
        return
    auroc = probes.all.auroc
    few = (
        "too few annotations were judged to know whether this judge separates known-bad ones from "
    )
    if auroc.value is None or auroc.high is None:
        if summary.judged:
            yield f"{few}yours"
        return
    value = f"AUROC {auroc.value:.2f}, {auroc.low:.2f} to {auroc.high:.2f}"
    if auroc.high < 0.5:
        yield (
            f"this judge scores known-bad annotations above yours ({value}): the panel is worse "
            "than chance, and only the gates are useful"
        )
    elif auroc.at_chance and auroc.high >= WEAK_AUROC:
        yield f"{few}yours ({value})"
    elif auroc.at_chance:
        yield (
            f"this judge does not separate known-bad annotations from yours ({value}): the panel "
            "is near chance, and only the gates are useful"
        )
    elif auroc.value < WEAK_AUROC:
        yield f"this judge is weak ({value} against known-bad annotations): see what it adds below"


def _on_votes(run: Run, summary: Curation, own: int) -> Iterator[str]:
    """Yield notes on annotations by the judge, on its vote form, and on invalid votes."""
    if run.judge is None:
        return
    if own:
        yield (
            f"the judge's own weights made {own:,} of {summary.judged:,} judged annotations, and a "
            "model favours its own annotations; --model names another judge"
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
