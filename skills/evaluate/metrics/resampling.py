"""How sure a figure is: the paired bootstrap over papers.

A statistic is a function of sums over papers, so that drawing papers anew is one product of
matrices. All statistics are computed from the same draws: the difference of two of them is paired
by paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.corpus.stats import Share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Values = Floats | Flags

RESAMPLES, SEED = 10_000, 0
LEAST_PAPERS = 5
"""Fewer papers than this give no interval: resamples of so few hardly differ."""
ALIKE = 1e-9
"""Values no further apart than this are the same: what is left of them is rounding."""
TAIL = 0.025
"""The share of resamples beyond either end of an interval of 95%."""
CHUNK = 500_000
"""Draws, resamples times papers, that are multiplied at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A figure over papers.

    Attributes:
        sums: n by k, what each paper adds to each of k sums.
        value: the figure of k sums, for each row of them; nan where it is undefined.
        counted: n, which papers it is of.
        is_share: whether it is the share of papers of which something holds.
    """

    sums: Floats
    value: Callable[[Floats], Floats]
    counted: Flags
    is_share: bool = False


@dataclass(frozen=True, slots=True)
class Sampled:
    """A statistic's value, and its values in every resample.

    Attributes:
        counted: which papers it is of.
        share: where it is a share of papers: so many of so many.
    """

    value: float
    drawn: Floats
    counted: Flags
    share: Share | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval: Wilson's of a share of papers, else that of the percentile
    bootstrap.

    Attributes:
        value: None where it is undefined.
        low, high: None where there is no interval.
        papers: how many papers it is of.
        why: why there is no value or no interval; "" where there are both.
    """

    value: float | None
    low: float | None
    high: float | None
    papers: int
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON, rounded to four places."""
        return {
            "value": _rounded(self.value),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "papers": self.papers,
            "why": self.why,
        }


class Resamples:
    """`count` draws of `papers` papers with replacement; the same seed gives the same ones."""

    def __init__(self, papers: int, count: int = RESAMPLES, seed: int = SEED) -> None:
        import numpy as np

        rng = np.random.default_rng(seed)
        times = rng.multinomial(papers, np.full(papers, 1 / papers), size=count)
        # How often each paper is in a draw; a paper is not drawn 65,536 times.
        self._times = times.astype(np.uint16)

    def of(self, statistic: Statistic) -> Sampled:
        """The statistic over all papers and over those of each resample."""
        import numpy as np

        whole = statistic.sums.sum(axis=0, keepdims=True)
        step = max(1, CHUNK // len(statistic.sums))
        parts = [
            statistic.value(self._times[start : start + step].astype(np.float64) @ statistic.sums)
            for start in range(0, len(self._times), step)
        ]
        value, drawn = float(statistic.value(whole)[0]), np.concatenate(parts)
        share = Share(int(whole[0, 0]), int(whole[0, 1])) if statistic.is_share else None
        return Sampled(value, drawn, statistic.counted, share)


def estimate(sampled: Sampled, fewest: int | None = None) -> Estimate:
    """The value with its interval.

    Args:
        fewest: how many papers an interval rests on; by default as many as the figure is of.
    """
    import numpy as np

    papers = int(sampled.counted.sum())
    fewest = papers if fewest is None else fewest
    if np.isnan(sampled.value):
        return Estimate(None, None, None, papers, "undefined" if papers else "no papers")
    if sampled.share is not None:  # resamples of a share of 0 or 1 are all alike
        return Estimate(sampled.value, *sampled.share.interval, papers)
    if fewest < LEAST_PAPERS:
        why = f"no interval from fewer than {LEAST_PAPERS} papers"
        return Estimate(sampled.value, None, None, papers, why)
    defined = sampled.drawn[~np.isnan(sampled.drawn)]
    missing = 1 - len(defined) / len(sampled.drawn)
    if missing >= TAIL:
        why = f"no interval: undefined in {missing:.1%} of the resamples"
        return Estimate(sampled.value, None, None, papers, why)
    if np.ptp(defined) < ALIKE:
        why = "no interval: the same in all resamples"
        return Estimate(sampled.value, None, None, papers, why)
    # A resample without a value might be anywhere: each end counts all of them beyond it.
    beyond = (TAIL - missing) / (1 - missing)
    low, high = np.quantile(defined, [beyond, 1 - beyond])
    return Estimate(sampled.value, float(low), float(high), papers)


def difference(first: Sampled, other: Sampled) -> Estimate:
    """first - other, paired by paper, over the papers that either is of.

    Each side must be of enough papers for an interval of its own.
    """
    drawn, either = first.drawn - other.drawn, first.counted | other.counted
    fewest = min(int(first.counted.sum()), int(other.counted.sum()))
    return estimate(Sampled(first.value - other.value, drawn, either), fewest)


def ratio(over: Values, under: Values, *, empty: float = float("nan")) -> Statistic:
    """sum(over) / sum(under).

    Args:
        over, under: n values, or n by m of which the m ratios' mean is the value. Of n flags each
            it is the share of the papers in `under` that are in `over`.
        empty: a ratio whose `under` is 0.
    """
    import numpy as np

    tops, bases = (part.reshape(len(part), -1).astype(np.float64) for part in (over, under))
    columns = tops.shape[1]

    def value(sums: Floats) -> Floats:
        found = _divided(sums[:, :columns], sums[:, columns:], empty)
        return np.asarray(found.mean(axis=1))

    is_share = over.ndim == 1 and over.dtype == under.dtype == np.bool_
    counted = np.asarray((bases > 0).any(axis=1))
    return Statistic(np.hstack([tops, bases]), value, counted, is_share)


def kappa(said: Flags, true: Flags, among: Flags | None = None) -> Statistic:
    """Cohen's kappa of two judgements (Cohen 1960): (p_o - p_e) / (1 - p_e).

    Both may be n by m, and are then judged together. It is undefined where both always say one and
    the same.

    Args:
        among: the papers that it is of; all of them by default.
    """
    import numpy as np

    n = len(said)
    in_it = np.ones(n, bool) if among is None else among
    pairs = [said & true, said & ~true, ~said & true, ~said & ~true]
    counts = [pair.reshape(n, -1).sum(axis=1) * in_it for pair in pairs]

    def value(sums: Floats) -> Floats:
        both, said_alone, true_alone, neither = sums.T
        total = sums.sum(axis=1)
        observed = _divided(both + neither, total)
        says, trues = _divided(both + said_alone, total), _divided(both + true_alone, total)
        chance = says * trues + (1 - says) * (1 - trues)
        # What is left of 1 by rounding is no disagreement to be expected.
        room = np.where(1 - chance > 1e-12, 1 - chance, 0.0)
        return _divided(observed - chance, room)

    return Statistic(np.stack(counts, axis=1).astype(np.float64), value, in_it)


def _divided(over: Floats, under: Floats, empty: float = float("nan")) -> Floats:
    import numpy as np

    out = np.full(np.shape(over), empty)
    np.divide(over, under, out=out, where=under != 0)
    return out


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
