"""Find abstracts that are the same or nearly the same: candidates by MinHash, exact comparison.

The similarity of two abstracts is the Jaccard index of their runs of three words: the number of
shared runs over that of all runs. An abstract of 200 words has 0.86 after changing five words far
apart, 0.63 after fifteen, and 0.83 after adding a fifth at its end. Among 2,149 different abstracts
of the gold files and the pool of this project, the two most similar have 0.38 and all but two pairs
less than 0.21, so `MAX_SIMILARITY` is well above what two different papers share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from skills.nanda.paper import abstract_digest
from skills.nanda.text import words

T = TypeVar("T")

RUN = 3
"""Words of a run."""
MAX_SIMILARITY = 0.6
"""Two abstracts that are more similar count as one."""
LEAST_MAX_SIMILARITY = 0.5
BANDS, ROWS = 42, 3
"""Of the MinHash. A pair of similarity s is compared with probability 1 - (1 - s^ROWS)^BANDS
(Leskovec et al., Mining of Massive Datasets, 3.4.2): 0.996 at 0.5, 0.99996 at 0.6."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """The value of the most similar abstract; `exact` if the abstracts are the same."""

    value: T
    similarity: float
    exact: bool


class AbstractIndex(Generic[T]):
    """Finds the abstract that another one repeats, or nearly repeats.

    The same texts in the same order give the same results on every machine.
    """

    def __init__(self, max_similarity: float = MAX_SIMILARITY) -> None:
        from datasketch import MinHashLSH

        self._max_similarity = max_similarity
        self._lsh = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
        self._exact: dict[str, T] = {}
        self._kept: list[tuple[T, str]] = []

    def add(self, text: str, value: T) -> None:
        """Add an abstract, unless it is empty or there already."""
        digest = abstract_digest(text)
        if not text or digest in self._exact:
            return
        self._exact[digest] = value
        if (sketch := minhash(text)) is not None:
            self._lsh.insert(len(self._kept), sketch)
            self._kept.append((value, text))

    def find(self, text: str) -> Match[T] | None:
        """Return the most similar abstract, the earliest of several; None if none is near."""
        digest = abstract_digest(text)
        if digest in self._exact:
            return Match(self._exact[digest], 1.0, exact=True)
        sketch = minhash(text)
        if sketch is None or not self._kept:
            return None
        best: Match[T] | None = None
        for number in sorted(self._lsh.query(sketch)):
            value, other = self._kept[number]
            similarity = jaccard(text, other)
            if similarity > max(self._max_similarity, best.similarity if best else 0.0):
                best = Match(value, similarity, exact=False)
        return best


@lru_cache(maxsize=1 << 14)
def minhash(text: str) -> Any:
    """Return the MinHash of `text`, or None if it has no words."""
    from datasketch import MinHash

    if not (shared := runs(text)):
        return None
    sketch = MinHash(num_perm=BANDS * ROWS, seed=SEED)
    sketch.update_batch([run.encode() for run in shared])
    return sketch


def jaccard(one: str, other: str) -> float:
    """Return the similarity of two texts, 0 to 1; 0 if one has no words."""
    left, right = runs(one), runs(other)
    return len(left & right) / len(left | right) if left and right else 0.0


def runs(text: str) -> frozenset[str]:
    """Return the runs of `RUN` words, ignoring case and punctuation; all words if fewer."""
    found = words(text)
    last = max(len(found) - RUN, 0) if found else -1
    return frozenset(" ".join(found[start : start + RUN]) for start in range(last + 1))
