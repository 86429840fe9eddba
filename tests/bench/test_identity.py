"""bench/identity.py: a small table reaches the figures that docs/measurements/corpus.md states."""

from __future__ import annotations

from bench import identity, identity_table


def test_precision_and_recall() -> None:
    measured = identity.measure(identity_table.table(340, seed=5))
    assert set(measured.made) == set(identity_table.CHANGES)
    assert measured.precision >= 0.99
    assert measured.recall >= 0.95
    assert measured.unlike == 0
    assert len(measured.examples) == measured.false.total() + (
        measured.made.total() - measured.found.total()
    )
