"""The confidence of a move: the estimated probability that its sentence is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

UNCERTAIN = 0.5
"""Confidence below which a move is marked. Of the stated moves of nanda-annotator that were read
(bench/readings), 28% of those below it are right, and 73% of the others."""


def certainty_of(stored: object, moves: Iterable[str]) -> float | None:
    """Return the mean confidence of `moves`, None unless each has one.

    It is the expected share of right decisions about a paper, if the confidences are calibrated.

    Args:
        stored: the value of "confidence", None if there is none.
    """
    names = list(moves)
    found = confidence_of(stored, names)
    return fmean(found.values()) if names and len(found) == len(names) else None


def confidence_of(stored: object, moves: Iterable[str]) -> dict[str, float]:
    """Return the confidence of each of `moves` that has one: a number from 0 to 1.

    Args:
        stored: the value of "confidence", None if there is none.
    """
    given = stored if isinstance(stored, Mapping) else {}
    return {
        move: float(given[move])
        for move in moves
        if type(given.get(move)) in (int, float) and 0 <= given[move] <= 1
    }
