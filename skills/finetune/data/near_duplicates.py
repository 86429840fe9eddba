"""Find abstracts that are the same or nearly the same.

The similarity of two abstracts is the Jaccard index of their runs of three words: the number of
shared runs over that of all runs. An abstract of 200 words has 0.86 after changing five words far
apart, 0.63 after fifteen, and 0.83 after adding a fifth at its end. Among 2,149 different abstracts
of the gold files and the pool of this project, the two most similar have 0.38 and all but two pairs
less than 0.21, so `MAX_SIMILARITY` is well above what two different papers share.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Generic, TypeVar

from skills.nanda.paper import abstract_digest
from skills.nanda.text import words

T = TypeVar("T")

RUN = 3
"""Words of a run."""
MAX_SIMILARITY = 0.6
"""Two abstracts that are more similar count as one."""
LEAST_MAX_SIMILARITY = 0.5
COMMON = 100
"""Two abstracts with a similarity of 0.5 share two thirds of their runs, some of them rare."""


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """The value of the most similar abstract; `exact` if the abstracts are the same."""

    value: T
    similarity: float
    exact: bool


class AbstractIndex(Generic[T]):
    """Finds the abstract that another one repeats, or nearly repeats.

    An inverted index gives the abstracts that share a run with another one. Runs of more than
    `COMMON` abstracts are not used to find candidates.
    """

    def __init__(self, max_similarity: float = MAX_SIMILARITY) -> None:
        self._max_similarity = max_similarity
        self._exact: dict[str, T] = {}
        self._kept: list[tuple[T, frozenset[str]]] = []
        self._abstracts: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, text: str, value: T) -> None:
        """Add an abstract, unless it is empty or there already."""
        digest = abstract_digest(text)
        if not text or digest in self._exact:
            return
        self._exact[digest] = value
        found = runs(text)
        for run in found:
            self._abstracts[run].append(len(self._kept))
        self._kept.append((value, found))

    def find(self, text: str) -> Match[T] | None:
        """Return the most similar abstract, the earliest of several; None if none is near."""
        digest = abstract_digest(text)
        if digest in self._exact:
            return Match(self._exact[digest], 1.0, exact=True)
        found = runs(text)
        lists = (self._abstracts.get(run, []) for run in found)
        candidates = {number for numbers in lists if len(numbers) <= COMMON for number in numbers}
        best: Match[T] | None = None
        for number in sorted(candidates):
            value, other = self._kept[number]
            shared = len(found & other)
            similarity = shared / (len(found) + len(other) - shared)
            if similarity > max(self._max_similarity, best.similarity if best else 0.0):
                best = Match(value, similarity, exact=False)
        return best


def runs(text: str) -> frozenset[str]:
    """Return the runs of `RUN` words, ignoring case and punctuation; all words if fewer."""
    found = words(text)
    last = max(len(found) - RUN, 0) if found else -1
    return frozenset(" ".join(found[start : start + RUN]) for start in range(last + 1))
