"""Merge what several sources find, by identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from skills.corpus.identity.identifiers import KINDS
from skills.corpus.identity.matching import known, pairs
from skills.corpus.records import Found
from skills.nanda.paper import Paper

T = TypeVar("T")


def merged(found: Sequence[Found]) -> list[Found]:
    """Return papers of several sources, each once, in the order of their first occurrence.

    Preprint and published version count as one. What the first source does not state is taken from
    the others.
    """
    made: dict[int, Found] = {}
    for first, paper in zip(firsts([one.paper for one in found]), found, strict=True):
        made[first] = _with(made[first], paper) if first in made else paper
    return list(made.values())


def firsts(papers: Sequence[Paper]) -> list[int]:
    """Return for each paper the place of the first one that is the same by identity."""
    first = list(range(len(papers)))
    for one, other, _ in pairs(map(known, papers)):
        roots = _root(first, one), _root(first, other)
        first[max(roots)] = min(roots)
    return [_root(first, place) for place in range(len(papers))]


def interleaved(lists: Sequence[Sequence[T]]) -> list[T]:
    """Return the papers of several sources, the best of each first."""
    longest = max(map(len, lists), default=0)
    return [one[place] for place in range(longest) for one in lists if place < len(one)]


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        place = first[place]
    return place


def _with(one: Found, other: Found) -> Found:
    texts = ("title", "abstract", "authors", "published", "venue", "categories", "notice")
    more = {name: getattr(other, name) for name in texts if not getattr(one, name)}
    if one.cited is None:
        more["cited"] = other.cited
    if other.retracted and not one.retracted:
        more["retracted"] = True
    ids = {**other.identifiers, **one.identifiers}
    return replace(one, **more, identifiers={kind: ids[kind] for kind in KINDS if kind in ids})
