"""The report's first sections: what came out and how it was judged, and what the gates found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skills.curate.inputs.gates import REASONS
from skills.curate.page import drawings
from skills.curate.page.markup import Element, facts, h, paragraph, prose, section, table
from skills.curate.panel.panel import Panel

Summary = Mapping[str, Any]


def title(summary: Summary) -> str:
    return f"Curation of {Path(summary['input']).name}"


def outcome(summary: Summary, panel: Panel) -> Element:
    """What became of the annotations, what to know before believing it, and how it was judged."""
    parts = list(_parts(summary))
    total = summary["annotations"]
    said = ", ".join(f"{count:,} {label}" for _, label, count in parts)
    rows = [((_swatch(kind), label), count, _percent(count, total)) for kind, label, count in parts]
    return section(
        "outcome",
        "Outcome",
        drawings.bar([(kind, count) for kind, _, count in parts], f"Outcome: {said}"),
        table(
            "What became of the annotations",
            ("Outcome", "Annotations", "Share"),
            rows,
            foot=[("all", total, _percent(total, total))],
        ),
        _left_out(summary),
        _notes(summary),
        h("h3", {}, "How it was judged"),
        facts(_judged(summary, panel)),
        _measured(summary["judge"]["form"]) if summary["judge"]["model"] else None,
    )


def gates(summary: Summary) -> Element:
    """What the gates reject, by code."""
    gated, total = summary["gated"], summary["annotations"]
    counts = dict.fromkeys(REASONS, 0) | dict(summary["gates"])
    order = sorted(counts, key=lambda code: -counts[code])
    return section(
        "gates",
        "The gates",
        paragraph(
            f"They come first and ask no model. They reject {gated:,} of {total:,} annotations "
            f"({_percent(gated, total)}); one annotation may have several codes."
        ),
        table(
            "Rejected by the gates, by code",
            ("Code", "Annotations", "Of all", "What it means"),
            [
                (code, counts[code], _percent(counts[code], total), REASONS.get(code, ""))
                for code in order
            ],
            words=(3,),
        ),
    )


def _parts(summary: Summary) -> Iterator[tuple[str, str, int]]:
    """Class, name and count of each outcome there is; the first three are always told."""
    gated = summary["gated"]
    yield "kept", "kept", summary["kept"]
    yield "gated", "rejected by the gates", gated
    yield "voted", "rejected by the panel", summary["rejected"] - gated
    for kind, label in (
        ("undecided", "open: invalid votes could turn it"),
        ("failed", "failed: could not be judged"),
        ("pending", "not judged yet"),
    ):
        if summary[kind]:
            yield kind, label, summary[kind]


def _left_out(summary: Summary) -> Element | None:
    filtered = summary["filtered"]
    if not filtered:
        return None
    told = ", ".join(f"{count:,} {why}" for why, count in filtered.items())
    return paragraph(f"Of {summary['rows']:,} rows some have nothing to judge: {told}.")


def _notes(summary: Summary) -> Element | None:
    if not summary["notes"]:
        return None
    items = (h("li", {}, *prose(f"{note[:1].upper()}{note[1:]}.")) for note in summary["notes"])
    heading = h("h3", {"id": "notes-title"}, "Before you believe it")
    return h(
        "aside", {"class": "notes", "aria-labelledby": "notes-title"}, heading, h("ul", {}, *items)
    )


def _judged(summary: Summary, panel: Panel) -> Iterator[tuple[str, str]]:
    judge, tokens = summary["judge"], summary["tokens"]
    if judge["model"] is None:
        yield "Judge", "none was needed, since the gates left nothing to judge"
    else:
        yield "Judge", f"{judge['model']} ({judge['served']})"
        for role, digest in judge["digests"].items():
            yield f"Its weights ({role})", f"sha256 `{digest}`"
        yield "Asked", _asked(judge["form"])
    yield "Panel", f"version {panel.version}, {len(panel.personas)} personas"
    yield "What it is sent", f"sha256 `{judge['panel']}`"
    yield "Kept with", f"{judge['min_votes']} of {len(judge['thresholds'])} votes"
    yield "A vote passes from", ", ".join(f"{n} {t:.3f}" for n, t in judge["thresholds"].items())
    yield "Thresholds come from", _origin(judge["calibrated"])
    yield "Tokens", f"{tokens['prompt']:,} of prompts, {tokens['completion']:,} of answers"
    yield "Time", f"{summary['seconds']:,.1f} s"
    yield "Run", f"{summary['run']} of {summary['database']}"
    yield "Input", summary["input"]


def _asked(form: Mapping[str, Any]) -> str:
    if form["kind"] == "json":
        return "for an answer as JSON under a schema; the server tells no probabilities"
    after = f"after the reply's beginning {form['prefill']!r}" if form["prefill"] else "at once"
    mass = form["mass"]
    told = "" if mass is None else f"; {mass:.1%} of the probability lay on the answers"
    return f"for the probabilities of one token, {after}{told}"


def _origin(calibrated: Mapping[str, Any] | None) -> str:
    if calibrated is None:
        return "the panel's fixed defaults: uncalibrated"
    when = f" on {calibrated['created_at'][:10]}" if calibrated.get("created_at") else ""
    against = f"; {calibrated['why']}" if calibrated.get("why") else ""
    return (
        f"a calibration{when} on {calibrated['input']} ({calibrated['annotations']:,} "
        f"annotations) to the quota of {calibrated['reject_rate']:.0%} rejected, of which "
        f"{calibrated['achieved']:.1%} came out{against}"
    )


def _measured(form: Mapping[str, Any]) -> Element | None:
    """Beginnings of the reply, and what lay on the answers after each."""
    if not form["measured"]:
        return None
    rows = [
        (
            h("code", {}, repr(prefill)) if prefill else "none",
            f"{mass:.1%}",
            "taken" if (form["kind"], form["prefill"]) == ("logprobs", prefill) else "",
        )
        for prefill, mass in form["measured"].items()
    ]
    head = ("Beginning of the reply", "Probability on the answers", "Choice")
    return table("How the form of the question was chosen", head, rows, words=(2,))


def _swatch(kind: str) -> Element:
    return h("span", {"class": f"swatch {kind}", "aria-hidden": "true"})


def _percent(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "n/a"
