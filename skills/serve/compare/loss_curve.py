"""The losses of training runs as lines of a chart, on scales with round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640.0, 200.0
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the chart.

    Attributes:
        kind: its class: "training" or "dev", and "other" for those of a second run.
        points: steps with losses; in a `Curve`, places in the chart.
    """

    kind: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Curve:
    """A chart.

    Attributes:
        last: the last step.
        rules: the horizontal rules, as the place and the loss of each.
    """

    lines: Sequence[Line]
    last: float
    rules: Sequence[tuple[float, str]]


def curve(lines: Sequence[Line]) -> Curve:
    """Return a chart of these lines; each has a point."""
    losses = [loss for line in lines for _, loss in line.points]
    last = max(step for line in lines for step, _ in line.points) or 1
    gap = _round_gap((max(losses) - min(losses)) / 4)
    digits = max(0, -math.floor(math.log10(gap)))
    low, high = math.floor(min(losses) / gap), math.ceil(max(losses) / gap)
    high = max(high, low + 1)

    def placed(step: float, loss: float) -> Point:
        return WIDTH * step / last, HEIGHT * (high - loss / gap) / (high - low)

    return Curve(
        [Line(line.kind, [placed(*point) for point in line.points]) for line in lines],
        last,
        [
            (placed(0, number * gap)[1], f"{number * gap:.{digits}f}")
            for number in range(low, high + 1)
        ],
    )


def _round_gap(wanted: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is at least `wanted`."""
    power = 10.0 ** math.floor(math.log10(max(wanted, 0.001)))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= wanted)
