"""How well a panel separates good annotations from bad ones, and what it adds to the gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from skills.curate.statistics.decisions import decide
from skills.reporting.statistics import Share, figures, rounded

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Auroc:
    """The probability that a good annotation scores above a bad one.

    Attributes:
        value: 1 is always, 0.5 is chance; None if a side is empty.
        low, high: the 95% interval; None if there is no value.
        n_good, n_bad: scores on either side.
    """

    value: float | None
    low: float | None
    high: float | None
    n_good: int
    n_bad: int

    @property
    def at_chance(self) -> bool:
        """True if 0.5 is within the interval: the scores may not separate the two at all."""
        return self.low is not None and self.high is not None and self.low <= 0.5 <= self.high

    def as_dict(self) -> dict[str, Any]:
        return {**figures(self), "at_chance": self.at_chance}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of gates and panel for one annotation.

    Attributes:
        gated: True if a gate rejected it.
        passes: each persona's vote, None if invalid; empty if the panel did not judge it.
    """

    gated: bool
    passes: Sequence[bool | None] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: the share of bad and of good annotations that somebody rejects.

    Attributes:
        who: "gates", a persona, "panel", or "together" for gates and panel.
        caught: the bad ones it rejects, of those it judged.
        cost: the good ones it rejects, of those it judged.
        alone: number of `caught` that no other persona rejects; None unless it is a persona.
        no_vote: annotations, good and bad, left open by invalid votes; not counted in the shares.
    """

    who: str
    caught: Share
    cost: Share
    alone: int | None = None
    no_vote: int = 0

    @property
    def edge(self) -> float | None:
        """The share caught minus the share it costs (Youden's J); 0 for random rejections."""
        caught, cost = self.caught.value, self.cost.value
        return None if caught is None or cost is None else caught - cost

    def as_dict(self) -> dict[str, Any]:
        return {**figures(self), "edge": rounded(self.edge)}


def auroc(good: Sequence[float | None], bad: Sequence[float | None]) -> Auroc:
    """Return the probability that one of `good` is above one of `bad`; ties count half.

    It is U / (n m) of Mann and Whitney. None is left out.

    The interval is method 5 of Newcombe (2006, "Confidence intervals for an effect size measure
    based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25): the t for which
    |t - value| = z sqrt(V(t)), with V(t) = t (1 - t) (1 + N ((1 - t) / (2 - t) + t / (1 + t))) /
    (n m) and N = (n + m) / 2 - 1. Unlike DeLong's and a bootstrap it has a width at 0 and 1, which
    small samples of probes often reach. It assumes independent scores.
    """
    above, below = ([one for one in side if one is not None] for side in (good, bad))
    n, m = len(above), len(below)
    if not n or not m:
        return Auroc(None, None, None, n, m)
    from scipy.stats import rankdata

    ranks = rankdata([*above, *below])
    value = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    low, high = _newcombe(value, n, m)
    return Auroc(value, low, high, n, m)


def added(
    bad: Sequence[Outcome], good: Sequence[Outcome], personas: Sequence[str], min_votes: int
) -> list[Line]:
    """Return the lines of gates, each persona, panel and both together.

    Gates and "together" are over all annotations, the others over those that pass the gates.

    Args:
        bad: the probes.
        good: annotations that are taken to be good.
        personas: their names, in the order of the votes.
    """
    missed, passed = ([one.passes for one in side if not one.gated] for side in (bad, good))
    by_panel = decide(missed, min_votes), decide(passed, min_votes)
    lines = [_line("gates", [not one.gated for one in bad], [not one.gated for one in good])]
    for place, name in enumerate(personas):
        alone = sum(votes[place] is False and votes.count(False) == 1 for votes in missed)
        own = [[votes[place] for votes in side] for side in (missed, passed)]
        lines.append(_line(name, own[0], own[1], alone))
    both = [
        [*votes, *(False for one in side if one.gated)]
        for votes, side in zip(by_panel, (bad, good), strict=True)
    ]
    return [*lines, _line("panel", *by_panel), _line("together", both[0], both[1])]


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
