"""The verdict of a run: what was kept and rejected, and what the panel added to the gates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from skills.curate.panel.vote_mode import FEWEST_MASS
from skills.nanda.text import counted


def verdict(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Return both sentences of a summary (`skills.curate.report.summary.of_run`)."""
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
