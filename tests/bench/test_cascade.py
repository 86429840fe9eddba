"""bench/cascade.py: what goes on, and how often the bound holds."""

from __future__ import annotations

import pytest

from bench import cascade
from bench.cascade import Annotated


def test_the_least_certain_papers_become_gold() -> None:
    papers = [
        Annotated(0.5, {"claim": sure, "scope": 0.5}, frozenset({"claim"}))
        for sure in (0.9, 0.1, 0.4)
    ]
    mean = cascade.MEASURES["mean over all moves"]
    assert cascade.after(papers, mean, 0.34) == [0.5, 1.0, 0.5]
    assert cascade.after(papers, mean, 0.0) == [0.5, 0.5, 0.5]


def test_coverage_counts_the_samples_whose_bound_holds() -> None:
    shares = [0.25, 0.5, 0.75, 1.0] * 30
    held, distance, hoeffding = cascade.coverage(shares, 40, 50)
    assert held >= 0.9
    assert 0 < distance < hoeffding
    assert cascade.coverage([0.5] * 40, 40, 5)[1] == pytest.approx(0, abs=1e-6)
