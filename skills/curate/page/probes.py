"""The report's section on the probes: what is found of annotations that are known to be bad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.curate.page import drawings
from skills.curate.page.markup import Child, Element, Row, facts, h, paragraph, section, table
from skills.curate.report import text
from skills.curate.store.verdicts import Verdict

Found = Mapping[str, Any]

GROUPS = (
    ("kinds", "Kinds that the gates can see"),
    ("subtle", "Kinds that the gates cannot see"),
)
"""The groups of kinds in a summary's probes, with their headings; those it has are shown."""

COLUMNS = (
    (
        "Known-bad caught",
        "of the known-bad that come before it, what it rejects. Gates and `together` see all of "
        "them, personas and panel those that the gates let through; `none` where none gets through",
    ),
    ("Yours rejected", "the same of your annotations: what the catch costs"),
    (
        "Edge",
        "the first share less the second (Youden's J): 0 for one that rejects without looking",
    ),
    ("Alone", "known-bad that no other persona rejects"),
    ("No vote", "annotations that invalid votes leave open, which the shares do not count"),
)


def probes_section(summary: Found, probes: Sequence[Verdict]) -> Element:
    """The section of the probes; `probes` are all their verdicts."""
    found = summary["probes"]
    if not found:
        return section("probes", "Known-bad annotations", paragraph("There are none in this run."))
    examples: dict[str, str] = {}
    for one in probes:
        examples.setdefault(one.item.probe, one.item.changed)
    return section(
        "probes",
        "Known-bad annotations",
        paragraph(
            "They were made of annotations that passed the gates and mixed in among yours, and "
            "none of them is kept or shown below. Your annotations that passed the gates stand "
            "for good ones; nobody has said that they are."
        ),
        _failed(found),
        *_kinds(found, examples),
        h("h3", {}, "What each adds to the gates"),
        _added(found["added"]),
        facts(COLUMNS),
    )


def _failed(found: Found) -> Element | None:
    failed = found.get("failed")
    return paragraph(f"{failed:,} could not be judged, and are not counted.") if failed else None


def _kinds(found: Found, examples: Mapping[str, str]) -> Iterator[Element]:
    """A table for each group; what the summary has of "all" is the sum of the first one."""
    for group, caption in GROUPS:
        kinds = found.get(group)
        if not kinds:
            continue
        rows = [_rejected(kind, examples.get(kind, ""), figures) for kind, figures in kinds.items()]
        foot = [_rejected("all of these", "", found["all"])] if group == "kinds" else []
        head: tuple[Child, ...] = (
            "Kind",
            "For example",
            "Gates reject",
            "Panel alone",
            "Together",
            "Panel's AUROC",
            drawings.interval_scale(chance=True),
        )
        yield table(caption, head, rows, words=(1,), foot=foot)


def _rejected(kind: str, example: str, found: Found) -> Row:
    auroc = found["auroc"]
    return (
        kind,
        example,
        *(text.share(found[who]) for who in ("gates", "panel", "together")),
        text.interval(auroc),
        drawings.interval(auroc, auroc["value"], 0.5),
    )


def _added(lines: Sequence[Found]) -> Element:
    rows = [
        (
            line["who"],
            text.share(line["caught"]),
            text.share(line["cost"]),
            "" if line["edge"] is None else f"{line['edge']:+.2f}",
            "" if line["alone"] is None else line["alone"],
            line["no_vote"],
        )
        for line in lines
    ]
    head = ("Who", *(name for name, _ in COLUMNS))
    return table("Gates, personas, panel, and both together", head, rows)
