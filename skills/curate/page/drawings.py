"""Drawings of the report. Each says the same as a table or a sentence beside it.

They are at most 320 units wide, which a telephone shows at full size. Colours and lines are those
of assets/report.css.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from skills.curate.page.markup import Element, add, h

BINS = 20
_SIDE = 8  # room at both ends for half a label
_TRACK = 132  # width of a line with an interval
_WIDTH, _TOP, _BASE = 300, 18, 104  # of a histogram


def bar(parts: Iterable[tuple[str, int]], said: str) -> Element:
    """One bar from part to part, as wide as its place: (class, count)."""
    drawn = _drawing(1000, 30, said, {"class": "bar", "preserveAspectRatio": "none"})
    parts = [(kind, count) for kind, count in parts if count]
    total, done = sum(count for _, count in parts), 0
    for kind, count in parts:
        left, right = 1000 * done / total, 1000 * (done + count) / total
        box = {"x": _n(left), "y": 0, "width": _n(right - left), "height": 30}
        add(drawn, h("rect", {"class": f"part {kind}", **box}))
        done += count
    return drawn


def length(count: int, most: int, kind: str) -> Element:
    """A bar in a cell, in proportion to the longest of its column."""
    drawn = _hidden(_TRACK, 14, "track")
    wide = max(1.5, _TRACK * count / most) if count else 0
    box = {"x": 0, "y": 2, "width": _n(wide), "height": 10}
    add(drawn, h("rect", {"class": f"part {kind}", **box}))
    return drawn


def interval(found: Mapping[str, Any], value: float | None, chance: float | None) -> Element | None:
    """A share or an AUROC with its 95% interval between 0 and 1; `chance` is marked."""
    if value is None or found["low"] is None:
        return None
    drawn = _hidden(_TRACK, 16, "track")
    rule = {"x1": _SIDE, "x2": _TRACK - _SIDE, "y1": 8, "y2": 8}
    add(drawn, h("line", {"class": "rule", **rule}))
    if chance is not None:
        middle = _n(_along(chance))
        add(drawn, h("line", {"class": "chance", "x1": middle, "x2": middle, "y1": 1, "y2": 15}))
    ends = {"x1": _n(_along(found["low"])), "x2": _n(_along(found["high"])), "y1": 8, "y2": 8}
    add(drawn, h("line", {"class": "interval", **ends}))
    add(drawn, h("circle", {"class": "dot", "cx": _n(_along(value)), "cy": 8, "r": 4}))
    return drawn


def interval_scale(chance: bool) -> Element:
    """The scale of a column of intervals, for its head."""
    drawn = _drawing(_TRACK, 14, "drawn from 0 to 1", {"class": "track"})
    for value in (0.0, 0.5, 1.0) if chance else (0.0, 1.0):
        add(drawn, _label(_along(value), 11, f"{value:g}"))
    return drawn


def binned(scores: Iterable[float], low: float, high: float) -> list[int]:
    """How many scores lie in each of `BINS` equal steps from `low` to `high`, which belongs to the
    last one."""
    counts = [0] * BINS
    for score in scores:
        place = int((score - low) / (high - low) * BINS + 1e-9)
        counts[min(max(place, 0), BINS - 1)] += 1
    return counts


def histogram(
    own: Sequence[int],
    probes: Sequence[int],
    scale: tuple[float, float],
    threshold: float,
    said: str,
) -> Element:
    """Scores as columns, those of the probes as a line over them, each as a share of its own.

    Args:
        own, probes: counts as `binned` has them.
        scale: the lowest and the highest score there can be.
        threshold: the score from which a vote passes.
    """
    shares = [[count / max(1, sum(counts)) for count in counts] for counts in (own, probes)]
    most = max(max(side) for side in shares) or 1
    heights = [[share / most for share in side] for side in shares]
    drawn = _drawing(_WIDTH, 122, said, {"class": "histogram"})
    at, (low, high) = _on_scale(threshold, scale), scale
    fails = {"x": _SIDE, "y": _TOP, "width": _n(at - _SIDE), "height": _BASE - _TOP}
    add(drawn, h("rect", {"class": "fails", **fails}), *_columns(heights[0]))
    ends = {"x1": _SIDE, "x2": _WIDTH - _SIDE, "y1": _BASE, "y2": _BASE}
    add(drawn, h("line", {"class": "rule", **ends}))
    if any(probes):
        add(drawn, h("path", {"class": "probes", "d": _outline(heights[1])}))
    passes = {"x1": _n(at), "x2": _n(at), "y1": _TOP - 4, "y2": _BASE}
    anchor = "start" if at < _WIDTH / 3 else "end" if at > _WIDTH * 2 / 3 else "middle"
    add(drawn, h("line", {"class": "threshold", **passes}))
    add(drawn, _label(at, _TOP - 7, f"passes from {threshold:.3f}", anchor))
    for tick in _ticks(low, high):
        add(drawn, _label(_on_scale(tick, scale), _BASE + 14, f"{tick:g}"))
    return drawn


def scatter(
    points: Sequence[tuple[float, float]],
    scale: tuple[float, float],
    names: tuple[str, str],
    said: str,
) -> Element:
    """Points (x, y); y runs along `scale`, x from the least to the most there is.

    Args:
        names: of the two axes.
    """
    width, base, left, top = 320, 150, 22, 18
    least, most = min(x for x, _ in points), max(x for x, _ in points)
    (low, high), room = scale, width - left - _SIDE
    drawn = _drawing(width, 184, said, {"class": "scatter"})
    add(drawn, h("line", {"class": "rule", "x1": left, "x2": width, "y1": base, "y2": base}))
    add(drawn, h("line", {"class": "rule", "x1": left, "x2": left, "y1": top, "y2": base}))
    for x, y in points:
        at = left + _SIDE + (room - _SIDE) * (x - least) / ((most - least) or 1)
        up = base - (base - top) * (y - low) / (high - low)
        add(drawn, h("circle", {"class": "point", "cx": _n(at), "cy": _n(up), "r": 2.2}))
    for tick in _ticks(low, high):
        up = base - (base - top) * (tick - low) / (high - low)
        add(drawn, _label(left - 6, up + 4, f"{tick:g}", "end"))
    add(drawn, _label(left + _SIDE, base + 14, f"{least:g}"))
    add(drawn, _label(width - _SIDE, base + 14, f"{most:g}"))
    add(drawn, _label((left + width) / 2, base + 30, names[0]), _label(0, 10, names[1], "start"))
    return drawn


def _on_scale(score: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return _SIDE + (score - low) / (high - low) * (_WIDTH - 2 * _SIDE)


def _columns(heights: Sequence[float]) -> Iterator[Element]:
    """Columns of a histogram; 1 is as high as there is room."""
    step = (_WIDTH - 2 * _SIDE) / BINS
    for place, height in enumerate(heights):
        if height:
            tall = height * (_BASE - _TOP)
            box = {"x": _n(_SIDE + place * step + 0.5), "width": _n(step - 1)}
            box |= {"y": _n(_BASE - tall), "height": _n(tall)}
            yield h("rect", {"class": "column", **box})


def _outline(heights: Sequence[float]) -> str:
    """The path along the tops of a histogram's columns."""
    step = (_WIDTH - 2 * _SIDE) / BINS
    steps = [
        f"L{_n(_SIDE + place * step)} {_n(_BASE - height * (_BASE - _TOP))}"
        f"H{_n(_SIDE + (place + 1) * step)}"
        for place, height in enumerate(heights)
    ]
    return f"M{_SIDE} {_BASE}{''.join(steps)}L{_WIDTH - _SIDE} {_BASE}"


def _along(share: float) -> float:
    return _SIDE + share * (_TRACK - 2 * _SIDE)


def _ticks(low: float, high: float) -> list[float]:
    """Whole steps where there are few of them, else the ends."""
    whole = high - low
    if low == int(low) and whole == int(whole) and whole <= 10:
        return [low + step for step in range(int(whole) + 1)]
    return [low, high]


def _label(x: float, y: float, text: str, anchor: str = "middle") -> Element:
    return h("text", {"x": _n(x), "y": _n(y), "text-anchor": anchor}, text)


def _drawing(width: int, height: int, said: str, more: Mapping[str, str]) -> Element:
    size = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
    return h("svg", {"role": "img", "aria-label": said, **size, **more})


def _hidden(width: int, height: int, kind: str) -> Element:
    """A drawing of a figure that stands beside it in words."""
    size = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
    return h("svg", {"aria-hidden": "true", "class": kind, **size})


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
