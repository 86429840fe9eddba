"""Consistency of a model: differences with other seeds and reworded prompts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from skills.evaluate.annotators import Moves
from skills.evaluate.metrics.metrics import OVERALL, Key, measured, per_paper, stated
from skills.evaluate.metrics.resampling import Statistic, ratio
from skills.evaluate.metrics.similarity import rouge_l
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
) -> dict[Key, Statistic]:
    """Return the mean over all pairs of runs; a missing annotation agrees with no other.

    Args:
        runs: for each run, an annotation for each paper.
        included: the papers that were annotated in every run; the others do not count.
    """
    import numpy as np

    among = np.array(included, bool)
    similar, same = np.zeros(len(among)), np.zeros(len(among))
    pairs = list(combinations(runs, 2))
    for first, second in pairs:
        answered = np.array([bool(a and b) for a, b in zip(first, second, strict=True)])
        flags, others = stated(first, framework), stated(second, framework)
        values = measured(
            first,
            flags & others,
            framework,
            lambda i, move, text, second=second: rouge_l(text, second[i][move]),  # type: ignore[misc]
        )
        similar += per_paper(values, flags | others) * answered
        same += (flags == others).mean(axis=1) * answered
    return {
        (kind, OVERALL): ratio(similar / len(pairs) * among, among),
        (f"{kind}_stated", OVERALL): ratio(same / len(pairs) * among, among),
    }
