"""The report of a run for a terminal."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from harness.terminal.tables import table
from skills.curate.panel.vote_mode import FEWEST_MASS
from skills.reporting.statistics import MORE

WIDTH = 96
NAMED_BORDERLINE = 5


def text(summary: Mapping[str, Any], *, details: bool = False, is_saved: bool = False) -> str:
    """Return the report of a summary (`skills.curate.report.summary.of_run`), its verdict first.

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
