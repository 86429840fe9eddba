"""The comparison as a picture: every share and similarity with its interval, over all moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from skills.evaluate.metrics.metrics import OVERALL
from skills.evaluate.report.text import TOKENS, name_of

MODULES = ("matplotlib",)
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which people who see few colours can tell apart."""
MARKERS = "osD^vP*X"
ROW, HEAD = 0.34, 1.4
"""Inches of a metric, and of what stands around them."""


def draw(found: Mapping[str, Any], file: IO[bytes]) -> None:
    """Write a PNG: a row for each metric, in it a mark with its 95% interval for each annotator.

    Tokens are left out: they are no share. A metric that nobody has over all moves, as those of
    sentence labels, has a row for each move instead.
    """
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):  # a $ in a name begins no formula
        _draw(found, file)


def _draw(found: Mapping[str, Any], file: IO[bytes]) -> None:
    from matplotlib.figure import Figure

    rows = list(_rows(found))
    people = [one["name"] for one in found["annotators"]]
    figure = Figure(figsize=(9, HEAD + ROW * len(rows) * max(1, len(people) / 3)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    for place, name in enumerate(people):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        offset = (place - (len(people) - 1) / 2) * 0.8 / len(people)
        for row, (_, figures) in enumerate(rows):
            if (one := figures[place]) is None or one["value"] is None:
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
    figure.legend(loc="outside lower center", ncols=min(3, len(people)), frameon=False)
    figure.savefig(file, format="png", dpi=120)


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Mapping[str, Any] | None]]]:
    """Labels, and of each annotator the figure."""
    for metric in found["metrics"]:
        if metric in TOKENS:
            continue
        of_each = [one["metrics"].get(metric, {}) for one in found["annotators"]]
        if any(OVERALL in figures for figures in of_each):
            yield name_of(metric), [figures.get(OVERALL) for figures in of_each]
            continue
        for move in found["framework"]["moves"]:
            if any(move in figures for figures in of_each):
                label = f"{name_of(metric, by_move=True)}: {move}"
                yield label, [figures.get(move) for figures in of_each]
