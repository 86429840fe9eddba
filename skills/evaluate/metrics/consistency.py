"""Whether a model says the same when it is asked again: with other seeds, or in other words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from skills.evaluate.annotators import Moves
from skills.evaluate.metrics.metrics import OVERALL, Key, measured, per_paper, stated
from skills.evaluate.metrics.resampling import Statistic, ratio
from skills.evaluate.metrics.similarity import rouge_l
from skills.evaluate.variations import SEEDS, TEMPERATURE, Kind
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METRICS = {
    "seeds": f"how far a paper's answers with {len(SEEDS)} seeds, at temperature {TEMPERATURE}, "
    "agree with each other, as in agreement",
    "seeds_stated": "moves that two of these answers both state, or both do not",
    "prompts": "how far a paper's answers to the prompt in other words agree with each other and "
    "with the usual one",
    "prompts_stated": "moves that two of these answers both state, or both do not",
}


def statistics(
    kind: Kind, runs: Sequence[Sequence[Moves | None]], asked: Sequence[bool], framework: Framework
) -> dict[Key, Statistic]:
    """The mean over all pairs of runs; what is no annotation is like no other answer.

    Args:
        runs: of each way of asking, an annotation for each paper.
        asked: the papers that were asked about in every run; the others do not count.
    """
    import numpy as np

    among = np.array(asked, bool)
    alike, same = np.zeros(len(among)), np.zeros(len(among))
    pairs = list(combinations(runs, 2))
    for one, other in pairs:
        answered = _answered(one) & _answered(other)
        alike += _alike(one, other, framework) * answered
        agree = stated(one, framework) == stated(other, framework)
        same += agree.mean(axis=1) * answered
    return {
        (kind, OVERALL): ratio(alike / len(pairs) * among, among),
        (f"{kind}_stated", OVERALL): ratio(same / len(pairs) * among, among),
    }


def _answered(run: Sequence[Moves | None]) -> NDArray[np.bool_]:
    import numpy as np

    return np.array([moves is not None for moves in run])


def _alike(
    one: Sequence[Moves | None], other: Sequence[Moves | None], framework: Framework
) -> Floats:
    """n: the mean ROUGE-L of the moves that either states, 0 where only one does."""
    first, second = stated(one, framework), stated(other, framework)

    def alike(i: int, move: str, text: str) -> float:
        moves = other[i]
        return rouge_l(text, moves[move]) if moves is not None else 0.0

    return per_paper(measured(one, first & second, framework, alike), first | second)
