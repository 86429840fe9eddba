"""bench/map.py: the groups of a planted corpus are stable, and agree with what was planted."""

from __future__ import annotations

from map_corpus import planted

from bench import map as bench_map
from skills.corpus.map import clusters


def test_planted_groups_are_stable() -> None:
    items = planted()
    line = bench_map.compare(
        [item.record["method"] for item in items],
        [item.paper.title.split()[0] for item in items],
        bench_map.tf_idf(20),
        lambda vectors: clusters.assigned(vectors, None),
    )
    found, none, stable, agrees, _ = map(float, line.split())
    assert (found, none, stable, agrees) == (3, 0, 1, 1)
