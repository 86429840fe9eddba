"""The comparison as a picture: shares and similarities with their intervals, over all moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from skills.evaluate.metrics.metrics import OVERALL
from skills.evaluate.report.text import TOKENS, Figure, columns_of, figures_of, name_of

MODULES = ("matplotlib",)
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which is safe for colour-blind readers."""
MARKERS = "osD^vP*X"
ROW, HEAD = 0.34, 1.4
"""Height in inches of a metric, and of everything else."""


def draw(found: Mapping[str, Any], file: IO[bytes]) -> None:
    """Write a PNG: a row for each metric, with a mark and its 95% interval for each annotator.

    Tokens are left out, since they are not shares. A metric without a figure over all moves has a
    row for each move instead.
    """
    from matplotlib import figure as figures
    from matplotlib import rc_context, rcParamsDefault

    # Not those of a matplotlibrc in the current folder, which could run TeX; and a $ in a name does
    # not start a formula.
    with rc_context({**rcParamsDefault, "text.parse_math": False}):
        rows = list(_rows(found))
        names = list(columns_of(found))
        figure = figures.Figure(figsize=(9, HEAD + ROW * len(rows) * max(1, len(names) / 3)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        for place, name in enumerate(names):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            offset = (place - (len(names) - 1) / 2) * 0.8 / len(names)
            for row, (_, values) in enumerate(rows):
                if (one := values[place]) is None or one["value"] is None:
                    continue
                if one["low"] is not None:
                    ends = [one["low"], one["high"]]
                    axes.plot(ends, [row + offset] * 2, color=colour, linewidth=1.5)
                axes.plot(one["value"], row + offset, color=colour, marker=marker, markersize=5)
            axes.plot([], [], color=colour, marker=marker, label=name)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("value and 95% interval")
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(f"{Path(found['input']).name}: {found['papers']:,} papers", loc="left")
        figure.legend(loc="outside lower center", ncols=min(3, len(names)), frameon=False)
        figure.savefig(file, format="png", dpi=120)


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Figure | None]]]:
    """Yield a label and the figure of each annotator."""
    for metric in found["metrics"]:
        if metric in TOKENS:
            continue
        overall = figures_of(columns_of(found), metric)
        for move in (OVERALL,) if overall else found["framework"]["moves"]:
            if values := figures_of(columns_of(found), metric, move):
                yield name_of(metric, move), values
