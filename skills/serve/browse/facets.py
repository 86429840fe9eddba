"""The facets of the page of papers: their values, counts, and addresses that choose them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skills.corpus.browsing.facet_counts import Counts
from skills.corpus.browsing.selection import MOVE, STATED, UNSTATED
from skills.nanda.framework import Framework
from skills.serve.browse.view import View


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet.

    Attributes:
        address: of the papers with it chosen, or no longer.
    """

    text: str
    count: int
    is_chosen: bool
    address: str


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet with its values.

    Attributes:
        is_move: whether it states that a move is stated.
    """

    label: str
    values: tuple[Value, ...]
    is_move: bool


def facets_of(counts: Counts, view: View, framework: Framework) -> list[Facet]:
    """Return the facets that distinguish papers, in the order of `counts`."""
    labels = {MOVE + move.name: move.label for move in framework.moves}
    facets = []
    for name, counted in counts.facets.items():
        chosen = view.selection.facets.get(name, ())
        known = {**dict.fromkeys(chosen, 0), **counted}
        if name in labels and known:
            known = {value: known.get(value, 0) for value in (STATED, UNSTATED)}
        elif len(known) < 2 and not chosen:
            continue
        values = tuple(
            Value(value, known[value], value in chosen, view.toggled(name, value).address)
            for value in _sorted(name, known)
        )
        facets.append(Facet(labels.get(name, name.capitalize()), values, name in labels))
    return facets


def _sorted(name: str, known: Mapping[str, int]) -> list[str]:
    """Return years from the last one, and other values by their counts."""
    if name == "year":
        return sorted(known, key=lambda value: (value.isdigit(), value), reverse=True)
    if name.startswith(MOVE):
        return list(known)
    return sorted(known, key=lambda value: (-known[value], value))
