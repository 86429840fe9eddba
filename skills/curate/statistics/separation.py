"""How well a panel tells good annotations from bad ones, and what it adds to the gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from skills.curate.statistics.decisions import decide
from skills.reporting.statistics import Share, rounded

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Auroc:
    """The chance that a good annotation scores above a bad one.

    Attributes:
        value: 1 is always, 0.5 is no better than a coin; None where a side is empty.
        low, high: the 95% interval; None where there is no value.
        n_good, n_bad: scores on either side.
    """

    value: float | None
    low: float | None
    high: float | None
    n_good: int
    n_bad: int

    @property
    def at_chance(self) -> bool:
        """Whether the scores may well not tell them apart: 0.5 is within the interval."""
        return self.low is not None and self.high is not None and self.low <= 0.5 <= self.high

    def as_dict(self) -> dict[str, Any]:
        return {
            "value": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "n_good": self.n_good,
            "n_bad": self.n_bad,
            "at_chance": self.at_chance,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """One annotation as gates and panel see it.

    Attributes:
        gated: whether a gate rejected it.
        passes: each persona's vote, None if invalid; empty where the panel did not see it.
    """

    gated: bool
    passes: Sequence[bool | None] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: who rejects how much of the bad, and of the good.

    Attributes:
        who: "gates", a persona, "panel", or "together" for gates and panel.
        caught: of the bad ones before it, those it rejects.
        cost: of the good ones before it, those it rejects.
        alone: of `caught`, those that no other persona rejects; None if it is no persona.
        no_vote: annotations before it, good and bad, that its invalid votes leave open. They are
            not counted in the shares.
    """

    who: str
    caught: Share
    cost: Share
    alone: int | None = None
    no_vote: int = 0

    @property
    def edge(self) -> float | None:
        """The share caught less the share it costs: 0 for one that rejects without looking.

        Youden's J (1950, "Index for rating diagnostic tests", Cancer 3).
        """
        caught, cost = self.caught.value, self.cost.value
        return None if caught is None or cost is None else caught - cost

    def as_dict(self) -> dict[str, Any]:
        return {
            "who": self.who,
            "caught": self.caught.as_dict(),
            "cost": self.cost.as_dict(),
            "alone": self.alone,
            "no_vote": self.no_vote,
            "edge": rounded(self.edge),
        }


@dataclass(frozen=True, slots=True)
class Added:
    """What each persona adds to the gates, a `Line` each.

    Attributes:
        gates: over all annotations.
        personas, panel: over those that the gates let through.
        together: gates and panel over all annotations.
    """

    gates: Line
    personas: tuple[Line, ...]
    panel: Line
    together: Line

    @property
    def lines(self) -> tuple[Line, ...]:
        """In the order of the table."""
        return self.gates, *self.personas, self.panel, self.together

    def as_dict(self) -> dict[str, Any]:
        return {"lines": [line.as_dict() for line in self.lines]}


def auroc(good: Sequence[float | None], bad: Sequence[float | None]) -> Auroc:
    """The chance that one of `good` is above one of `bad`; ties count half.

    It is U / (n m) of Mann and Whitney. None scores, and nan, are left out.

    The interval is method 5 of Newcombe (2006, "Confidence intervals for an effect size measure
    based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25): the t for which
    |t - value| = z sqrt(V(t)), with V(t) = t (1 - t) (1 + N ((1 - t) / (2 - t) + t / (1 + t))) /
    (n m) and N = (n + m) / 2 - 1. Unlike DeLong's and a bootstrap's it has a width at 0 and 1,
    which few probes reach soon. It takes all scores for independent ones.
    """
    above, below = _valid(good), _valid(bad)
    n, m = len(above), len(below)
    if not n or not m:
        return Auroc(None, None, None, n, m)
    from scipy.stats import rankdata

    ranks = rankdata([*above, *below])
    value = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    low, high = _newcombe(value, n, m)
    return Auroc(value, low, high, n, m)


def added(
    bad: Sequence[Seen], good: Sequence[Seen], personas: Sequence[str], min_votes: int
) -> Added:
    """What each persona catches that the gates miss, and what that costs in good annotations.

    Args:
        bad: probes, all of them or those of one kind.
        good: annotations that are taken for good.
        personas: their names, in the order of the votes.

    Raises:
        InputError: `min_votes` is more than there are personas.
        ValueError: an annotation that the gates let through does not have a vote of each persona.
    """
    missed, passed = ([v.passes for v in side if not v.gated] for side in (bad, good))
    for votes in (*missed, *passed):
        if len(votes) != len(personas):
            raise ValueError(f"{len(votes)} votes of {len(personas)} personas")
    of_panel = decide(missed, min_votes), decide(passed, min_votes)
    lines = []
    for place, name in enumerate(personas):
        alone = sum(votes[place] is False and votes.count(False) == 1 for votes in missed)
        own = [[votes[place] for votes in side] for side in (missed, passed)]
        lines.append(_line(name, own[0], own[1], alone))
    return Added(
        gates=_line("gates", [not v.gated for v in bad], [not v.gated for v in good]),
        personas=tuple(lines),
        panel=_line("panel", *of_panel),
        together=_line(
            "together",
            [*of_panel[0], *(False for v in bad if v.gated)],
            [*of_panel[1], *(False for v in good if v.gated)],
        ),
    )


def _line(
    who: str, bad: Sequence[bool | None], good: Sequence[bool | None], alone: int | None = None
) -> Line:
    caught, cost = (Share(side.count(False), len(side) - side.count(None)) for side in (bad, good))
    return Line(who, caught, cost, alone, bad.count(None) + good.count(None))


def _newcombe(value: float, n: int, m: int) -> tuple[float, float]:
    from scipy.optimize import brentq

    mean = (n + m) / 2 - 1

    def beyond(t: float) -> float:
        variance = t * (1 - t) * (1 + mean * ((1 - t) / (2 - t) + t / (1 + t))) / (n * m)
        return (t - value) ** 2 - _Z**2 * variance

    # At 0 and 1 the variance is 0, so that the value itself would be found there.
    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = brentq(beyond, 0, inside) if value > 0 else 0.0
    high = brentq(beyond, inside, 1) if value < 1 else 1.0
    return float(low), float(high)


def _valid(scores: Sequence[float | None]) -> list[float]:
    return [score for score in scores if score is not None and not math.isnan(score)]
