"""The summary of a run in words and tables, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from harness.terminal.tables import table

WIDTH = 96
NAMED_BORDERLINE = 5


def text(summary: Mapping[str, Any]) -> str:
    """All of `skills.curate.report.summary.of_run`, its notes first."""
    blocks = ["\n".join((*_outcome(summary), *_notes(summary)))]
    if summary["gates"]:
        rows = [(code, f"{count:,}") for code, count in summary["gates"].items()]
        blocks.append(table(("rejected by the gates for", "annotations"), rows))
    if summary["panel"]:
        blocks += [_personas(summary), "\n".join(_agreement(summary))]
    if summary["probes"]:
        blocks += [_probes(summary["probes"]), _added(summary["probes"])]
    return "\n\n".join(blocks)


def share(found: Mapping[str, Any]) -> str:
    """ "12 of 40 (30%)"."""
    if found["share"] is None:
        return "none"
    return f"{found['count']:,} of {found['of']:,} ({found['share']:.0%})"


def interval(found: Mapping[str, Any]) -> str:
    """ "0.71 (0.60 to 0.80)"; the reason where there is no value or no interval."""
    if found["value"] is None:
        return str(found.get("why") or "n/a")
    if found["low"] is None:
        return f"{found['value']:.2f} ({found['why']})"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _outcome(summary: Mapping[str, Any]) -> Iterator[str]:
    by_panel = summary["rejected"] - summary["gated"]
    parts = [
        f"{summary['kept']:,} kept",
        f"{summary['rejected']:,} rejected ({summary['gated']:,} by the gates, "
        f"{by_panel:,} by the panel)",
    ]
    parts += [f"{summary['undecided']:,} left open by invalid votes"] * bool(summary["undecided"])
    parts += [f"{summary['failed']:,} failed (--retry-failed redoes them)"] * bool(
        summary["failed"]
    )
    failed = summary["probes"]["failed"] if summary["probes"] else 0
    parts += [f"{failed:,} of the probes failed (--retry-failed redoes them)"] * bool(failed)
    parts += [f"{summary['pending']:,} not judged yet"] * bool(summary["pending"])
    parts += [f"{n:,} left out ({why})" for why, n in summary["filtered"].items()]
    annotations = summary["annotations"]
    yield f"{summary['input']}: {annotations:,} annotations: {', '.join(parts)}"
    judge = summary["judge"]
    if judge["model"] is None:
        yield "judge: none was needed, since the gates left nothing to judge"
        return
    yield (
        f"judge: {judge['model']} ({judge['served']}), {way(judge['form'])}; "
        f"{judge['min_votes']} of {len(judge['thresholds'])} votes keep"
    )


def way(form: Mapping[str, Any]) -> str:
    """Return how the judge was asked for a vote."""
    return f"asked {'as JSON' if form['kind'] == 'json' else _one_token(form)}"


def _one_token(form: Mapping[str, Any]) -> str:
    after = f"after {form['prefill']!r}" if form["prefill"] else "at once"
    mass = "" if form["mass"] is None else f" ({form['mass']:.0%} of the probability on answers)"
    return f"for one token {after}{mass}"


def _notes(summary: Mapping[str, Any]) -> Iterator[str]:
    for note in summary["notes"]:
        yield textwrap.fill(f"! {note}", WIDTH, subsequent_indent="  ")


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
    personas = len(panel["personas"])
    votes = (f"{split} {count:,}" for split, count in panel["splits"].items() if count)
    yield f"votes: {', '.join(votes)}"
    alpha = panel["alpha"]
    yield (
        f"agreement (Krippendorff's alpha): votes {interval(alpha['votes'])}, "
        f"scores {interval(alpha['scores'])}"
    )
    effective = panel["effective_votes"]
    yield f"effective votes: {'n/a' if effective is None else f'{effective:.1f}'} of {personas}"
    length = panel["length"]
    rho = "n/a" if length["value"] is None else f"{length['value']:.2f} ({_p(length['p'])})"
    yield f"score and length of the annotation (Spearman's rho): {rho}"
    against = panel["vote_against_mean"]
    differ = against["vote_only"] + against["mean_only"]
    yield f"votes and mean score decide otherwise: {differ:,} of {against['of']:,}"
    borderline = panel["borderline"]
    if borderline["of"]:
        named = ", ".join(
            f"{one['id']} ({one['votes']} votes, {one['distance']:.3f} off)"
            for one in borderline["closest"][:NAMED_BORDERLINE]
        )
        yield textwrap.fill(
            f"for a human to look at: {borderline['of']:,} close to the bar, first {named}",
            WIDTH,
            subsequent_indent="  ",
        )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _probes(probes: Mapping[str, Any]) -> str:
    rows = [
        (kind, *(share(found[who]) for who in ("gates", "panel", "together")), _auroc(found))
        for kind, found in (
            *probes["kinds"].items(),
            ("all of these", probes["all"]),
            *probes["subtle"].items(),
        )
    ]
    head = ("known-bad, rejected by", "gates", "panel alone", "together", "panel's AUROC")
    return table(head, rows)


def _auroc(found: Mapping[str, Any]) -> str:
    return interval(found["auroc"])


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
