"""How well a panel separates good annotations from bad ones, and what it adds to the gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skills.curate.statistics.decisions import Votes, decide
from skills.reporting.statistics import Share, Z


def auroc(good: Sequence[float | None], bad: Sequence[float | None]) -> dict[str, Any]:
    """Return the probability that one of `good` is above one of `bad`; ties count half.

    It is U / (n m) of Mann and Whitney. None is left out.

    The interval is method 5 of Newcombe (2006, "Confidence intervals for an effect size measure
    based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25): the t for which
    |t - value| = z sqrt(V(t)), with V(t) = t (1 - t) (1 + N ((1 - t) / (2 - t) + t / (1 + t))) /
    (n m) and N = (n + m) / 2 - 1. Unlike DeLong's and a bootstrap it has a width at 0 and 1, which
    small samples of probes often reach. It assumes independent scores.

    Returns:
        value: 1 is always, 0.5 is chance; None if a side is empty.
        low, high: the 95% interval; None if there is no value.
        n_good, n_bad: number of scores on either side.
        at_chance: True if 0.5 is within the interval: the scores may not separate the two at all.
    """
    above, below = ([one for one in side if one is not None] for side in (good, bad))
    n, m = len(above), len(below)
    found: dict[str, Any] = dict.fromkeys(("value", "low", "high"))
    found |= {"n_good": n, "n_bad": m, "at_chance": False}
    if not n or not m:
        return found
    from scipy.stats import rankdata

    ranks = rankdata([*above, *below])
    value = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    low, high = _newcombe(value, n, m)
    return found | {"value": value, "low": low, "high": high, "at_chance": low <= 0.5 <= high}


def added(
    bad: Sequence[Votes | None],
    good: Sequence[Votes | None],
    personas: Sequence[str],
    min_votes: int,
) -> list[dict[str, Any]]:
    """Return the share of bad and of good annotations that gates, personas and panel reject.

    Gates and "together" are over all annotations, the others over those that pass the gates.

    Args:
        bad: the votes on each probe; None if a gate rejects it.
        good: the same of the annotations that are taken to be good.
        personas: their names, in the order of the votes.

    Returns:
        a line for the gates, each persona, the panel, and gates and panel together:
        who: whom the line is about.
        caught, cost: the bad and the good ones it rejects, of those it judged.
        alone: number of `caught` that no other persona rejects; None unless it is a persona.
        no_vote: annotations, good and bad, left open by invalid votes; not counted in the shares.
        edge: the share caught minus the share it costs (Youden's J); 0 for random rejections.
    """
    gates = [[votes is not None for votes in side] for side in (bad, good)]
    judged = [[votes for votes in side if votes is not None] for side in (bad, good)]
    panel = [[decide(votes, min_votes) for votes in side] for side in judged]
    together = [
        [*votes, *[False] * side.count(False)] for votes, side in zip(panel, gates, strict=True)
    ]
    lines = [_line("gates", gates)]
    for place, name in enumerate(personas):
        alone = sum(votes[place] is False and votes.count(False) == 1 for votes in judged[0])
        lines.append(_line(name, [[votes[place] for votes in side] for side in judged], alone))
    return [*lines, _line("panel", panel), _line("together", together)]


def _line(who: str, sides: Sequence[Votes], alone: int | None = None) -> dict[str, Any]:
    invalid = [side.count(None) for side in sides]
    caught, cost = (
        Share(side.count(False), len(side) - none)
        for side, none in zip(sides, invalid, strict=True)
    )
    edge = None if caught.value is None or cost.value is None else caught.value - cost.value
    return {
        "who": who,
        "caught": caught.as_dict(),
        "cost": cost.as_dict(),
        "alone": alone,
        "no_vote": sum(invalid),
        "edge": edge,
    }


def _newcombe(value: float, n: int, m: int) -> tuple[float, float]:
    from scipy.optimize import brentq

    mean = (n + m) / 2 - 1

    def beyond(t: float) -> float:
        variance = t * (1 - t) * (1 + mean * ((1 - t) / (2 - t) + t / (1 + t))) / (n * m)
        return (t - value) ** 2 - Z**2 * variance

    # At 0 and 1 the variance is 0, so that the value itself would be found there.
    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = brentq(beyond, 0, inside) if value > 0 else 0.0
    high = brentq(beyond, inside, 1) if value < 1 else 1.0
    return float(low), float(high)
