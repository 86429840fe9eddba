"""The report of a run for a terminal."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.terminal.rendering import table
from skills.corpus.records import Annotated
from skills.curate.panel import FEWEST_MASS
from skills.curate.run_summary import Run
from skills.nanda.text import counted
from skills.reporting.statistics import MORE

WIDTH = 96
NAMED_BORDERLINE = 5


def text(summary: Mapping[str, Any], *, details: bool = False, is_saved: bool = False) -> str:
    """Return the report of a summary (`skills.curate.run_summary.of_run`), its verdict first.

    Args:
        details: with what the personas and the panel did, and the probes.
        is_saved: omit the hint to save, since the run is saved.
    """
    outcome, panel = summary["verdict"]
    notes = (textwrap.fill(f"! {note}", WIDTH, subsequent_indent="  ") for note in summary["notes"])
    blocks = ["\n".join((outcome, textwrap.fill(panel, WIDTH), *_judge(summary), *notes))]
    shown = summary["not_kept"]
    if shown:
        blocks.append("\n".join(itertools.chain.from_iterable(map(_not_kept, shown))))
    if summary["annotations"] - summary["kept"] - summary["pending"] > len(shown):
        hint = (
            "" if is_saved else " `save to FILE` writes all of them to a table, STEM_rejected.csv."
        )
        blocks[-1] += f"\n...{hint}"
    if summary["gates"]:
        rows = [(code, f"{count:,}") for code, count in summary["gates"].items()]
        blocks.append(table(("rejected by the gates for", "annotations"), rows))
    if not details:
        return "\n\n".join((*blocks, MORE))
    if summary["panel"]:
        blocks += [_personas(summary), "\n".join(_agreement(summary))]
    if summary["probes"]:
        blocks += [_probes(summary["probes"]), _added(summary["probes"])]
    return "\n\n".join(blocks)


def share(found: Mapping[str, Any]) -> str:
    """Format a share: "12 of 40 (30%)"."""
    if found["share"] is None:
        return "none"
    return f"{found['count']:,} of {found['of']:,} ({found['share']:.0%})"


def interval(found: Mapping[str, Any]) -> str:
    """Format a value with its interval, "0.71 (0.60 to 0.80)", or the reason why it has none."""
    if found["value"] is None:
        return str(found.get("why") or "n/a")
    if found["low"] is None:
        return f"{found['value']:.2f} ({found['why']})"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _not_kept(one: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about an annotation that is not kept: its paper, and the reasons."""
    paper = f"{one['decision']}: {one['id']} {one['title']}"
    yield textwrap.shorten(paper, WIDTH, placeholder=" ...")
    for reason in one["details"]:
        yield textwrap.fill(reason, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _judge(summary: Mapping[str, Any]) -> Iterator[str]:
    judge = summary["judge"]
    if judge["model"] is None:
        yield "judge: none was needed, since the gates left nothing to judge"
        return
    yield (
        f"judge: {judge['model']} ({judge['served']}), {form_text(judge['form'])}; "
        f"{judge['min_votes']} of {len(judge['thresholds'])} votes keep"
    )


def form_text(form: Mapping[str, Any]) -> str:
    """Return how the votes were given, such as "votes as JSON"."""
    if form["kind"] == "json":
        return "votes as JSON"
    after = f"after {form['prefill']!r}" if form["prefill"] else "at once"
    if form["mass"] is None:
        return f"votes by one token {after}"
    votes = "votes" if form["mass"] >= FEWEST_MASS else "cannot vote"
    measured = f", measured on {form['items']:,}" if form["items"] else ""
    return (
        f"{votes} by one token {after} ({form['mass']:.0%} of the probability on answers{measured})"
    )


def _personas(summary: Mapping[str, Any]) -> str:
    rows = [
        (
            one["name"],
            share(one["passed"]),
            f"{one['threshold']:.3f}",
            "" if one["mean"] is None else f"{one['mean']:.3f}",
            "" if one["mass"] is None else f"{one['mass']:.2f}",
            one["invalid"],
            one["weight"]["deciding"],
            interval(one["auroc"]),
        )
        for one in summary["panel"]["personas"]
    ]
    head = ("persona", "passed", "from", "mean", "mass", "invalid", "decides", "AUROC on probes")
    return table(head, rows)


def _agreement(summary: Mapping[str, Any]) -> Iterator[str]:
    panel = summary["panel"]
    votes = (f"{split} {count:,}" for split, count in panel["splits"].items() if count)
    yield f"votes: {', '.join(votes)}"
    alpha = panel["alpha"]
    yield (
        f"agreement (Krippendorff's alpha): votes {interval(alpha['votes'])}, "
        f"scores {interval(alpha['scores'])}"
    )
    effective = panel["effective_votes"]
    figure = "n/a" if effective is None else f"{effective:.1f}"
    yield f"effective votes: {figure} of {len(panel['personas'])}"
    length = panel["length"]
    rho = "n/a"
    if length["value"] is not None:
        p = "p < 0.001" if length["p"] < 0.001 else f"p = {length['p']:.3f}"
        rho = f"{length['value']:.2f} ({p})"
    yield f"score and length of the annotation (Spearman's rho): {rho}"
    against = panel["vote_against_mean"]
    yield f"votes and mean score decide differently: {against['count']:,} of {against['of']:,}"
    borderline = panel["borderline"]
    if borderline["of"]:
        named = ", ".join(
            f"{one['id']} ({one['votes']} votes, {one['distance']:.3f} off)"
            for one in borderline["closest"][:NAMED_BORDERLINE]
        )
        yield textwrap.fill(
            f"to be checked by a person: {borderline['of']:,} near the threshold, first {named}",
            WIDTH,
            subsequent_indent="  ",
        )


def _probes(probes: Mapping[str, Any]) -> str:
    kinds = (*probes["kinds"].items(), ("all of these", probes["all"]), *probes["subtle"].items())
    rows = [
        (
            kind,
            *(share(found[who]) for who in ("gates", "panel", "together")),
            interval(found["auroc"]),
        )
        for kind, found in kinds
    ]
    head = ("known-bad, rejected by", "gates", "panel alone", "together", "panel's AUROC")
    return table(head, rows)


def _added(probes: Mapping[str, Any]) -> str:
    rows = [
        (
            line["who"],
            share(line["caught"]),
            share(line["cost"]),
            "" if line["edge"] is None else f"{line['edge']:+.2f}",
            "" if line["alone"] is None else line["alone"],
        )
        for line in probes["added"]
    ]
    head = ("what each adds to the gates", "known-bad caught", "yours rejected", "edge", "alone")
    return table(head, rows)


def verdict_of(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Return both sentences of a summary (`skills.curate.run_summary.of_run`)."""
    return _outcome(summary), _panel(summary)


def _outcome(summary: Mapping[str, Any]) -> str:
    by_panel = summary["rejected"] - summary["gated"]
    failed = summary["probes"]["failed"] if summary["probes"] else 0
    redo = "(--retry-failed retries them)"
    optional = (
        (summary["undecided"], "left undecided by invalid votes"),
        (summary["failed"], f"failed {redo}"),
        (failed, f"of the probes failed {redo}"),
        (summary["pending"], "not judged yet"),
        *((count, f"left out ({why})") for why, count in summary["filtered"].items()),
    )
    parts = [
        f"{summary['kept']:,} kept",
        f"{summary['rejected']:,} rejected ({summary['gated']:,} by the gates, "
        f"{by_panel:,} by the panel)",
        *(f"{count:,} {what}" for count, what in optional if count),
    ]
    return f"{summary['input']}: {counted(summary['annotations'], 'annotation')}: " + ", ".join(
        parts
    )


def _panel(summary: Mapping[str, Any]) -> str:
    """State what the panel adds to the gates, or why that is not known."""
    judge, probes = summary["judge"], summary["probes"]
    if judge["model"] is None:
        return "The panel was not needed: the gates left nothing to judge."
    if judge["form"]["mass"] is not None and judge["form"]["mass"] < FEWEST_MASS:
        return "The panel did not vote, since the judge cannot answer: the gates alone decided."
    line = next((one for one in probes["added"] if one["who"] == "panel"), None) if probes else None
    if line is None or not line["caught"]["of"] or not line["cost"]["of"]:
        return (
            "What the panel adds to the gates is not known: no known-bad annotation that passes "
            "them was judged."
        )
    bad, good = line["caught"], line["cost"]
    found = (
        f"of the known-bad annotations that pass them it rejected {bad['count']:,} of "
        f"{bad['of']:,}, of yours {good['count']:,} of {good['of']:,}"
    )
    # Newcombe 1998, "Interval estimation for the difference", Statistics in Medicine 17,
    # method 10: the lower end, from the intervals of both shares.
    spread = math.hypot(bad["share"] - bad["low"], good["high"] - good["share"])
    if bad["share"] - good["share"] > spread:
        return f"The panel adds to the gates: {found}."
    return f"The panel is not shown to add anything to the gates: {found}, which could be chance."


WEAK_AUROC = 0.7
"""Below it the panel is called weak: it prefers the bad one of a good and a bad annotation in at
least three of ten cases. The usual interpretation (Hosmer and Lemeshow 2000, Applied Logistic
Regression, p. 162) calls .7 to .8 acceptable."""
MUCH_INVALID = 0.1


def notes_of(run: Run, summary: Mapping[str, Any], own: int) -> list[str]:
    """Return the notes, most important first.

    Args:
        own: number of judged annotations that the judge itself has made.
    """
    return [
        *_thresholds(run),
        *_separation(summary),
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


def _separation(summary: Mapping[str, Any]) -> Iterator[str]:
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
