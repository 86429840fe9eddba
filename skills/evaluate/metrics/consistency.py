"""Consistency of a model: differences with other seeds and reworded prompts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, compress

from skills.evaluate.annotators import Moves
from skills.evaluate.metrics.measures import Measures, of_repetition
from skills.evaluate.metrics.metrics import OVERALL, Key
from skills.evaluate.metrics.resampling import Statistic, ratio
from skills.evaluate.variations import SEEDS, TEMPERATURE, Kind
from skills.nanda.framework import Framework

METRICS = {
    "seeds": f"agreement of a paper's answers with {len(SEEDS)} seeds, at temperature "
    f"{TEMPERATURE}, with each other",
    "seeds_stated": "moves that two of these answers both state, or both do not",
    "prompts": "agreement of a paper's answers to reworded prompts with each other and with the "
    "usual answer",
    "prompts_stated": "moves that two of these answers both state, or both do not",
}


def statistics(
    kind: Kind,
    runs: Sequence[Sequence[Moves | None]],
    included: Sequence[bool],
    framework: Framework,
    measures: Measures,
) -> dict[Key, Statistic]:
    """Return the mean over all pairs of runs; a missing annotation agrees with no other.

    Args:
        runs: for each run, an annotation for each paper.
        included: the papers that were annotated in every run; the others do not count.
    """
    import numpy as np

    among = np.array(included, bool)
    similar, same = np.zeros(len(among)), np.zeros(len(among))
    for i in compress(range(len(included)), included):
        pairs = [
            _alike(first, second, framework, measures)
            for first, second in combinations([run[i] for run in runs], 2)
        ]
        similar[i], same[i] = np.mean(pairs, axis=0)
    return {
        (kind, OVERALL): ratio(similar, among),
        (f"{kind}_stated", OVERALL): ratio(same, among),
    }


def _alike(
    first: Moves | None, second: Moves | None, framework: Framework, measures: Measures
) -> tuple[float, float]:
    """Return the similarity of two answers to one paper, and the share of moves stated alike."""
    if not first or not second:
        return 0.0, 0.0
    stated, others = framework.stated(first), framework.stated(second)
    either, count = stated.keys() | others.keys(), len(framework.names)
    values = measures.get(of_repetition, stated, others)
    # As `metrics.per_paper`: two answers that both state nothing agree.
    similar = sum(values.values()) / len(either) if either else 1.0
    return similar, 1 - len(stated.keys() ^ others.keys()) / count
