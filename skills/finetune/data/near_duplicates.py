"""Abstracts that are nearly the same: found by MinHash, decided by the exact similarity.

The similarity of two abstracts is the Jaccard index of their runs of three words: what both have
over what either has. An abstract of 200 words keeps 0.86 when five words far apart are changed,
0.63 with fifteen, 0.83 when a fifth is added at its end. Among the 2,149 different abstracts of the
gold files and the pool that this was built with, the two that are most alike have 0.38 and all but
two pairs less than 0.21, so that `MAX_SIMILARITY` lies well above what two papers share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skills.nanda.text import words

RUN = 3
"""Words of a run."""
MAX_SIMILARITY = 0.6
"""Two abstracts that are more alike than this count as one."""
LEAST_MAX_SIMILARITY = 0.5
BANDS, ROWS = 42, 3
"""Of the MinHash. A pair of similarity s is looked at with probability 1 - (1 - s^ROWS)^BANDS
(Leskovec et al., Mining of Massive Datasets, 3.4.2): 0.996 at 0.5, 0.99996 at 0.6."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Near:
    """The abstract that is nearest to another one, and how alike they are, 0 to 1."""

    name: str
    similarity: float


class NearDuplicates:
    """Abstracts by name, to be asked which of them another one nearly repeats.

    The same texts in the same order give the same answers, on every machine.
    """

    def __init__(self, max_similarity: float = MAX_SIMILARITY) -> None:
        from datasketch import MinHashLSH

        self._max_similarity = max_similarity
        self._index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
        self._kept: list[tuple[str, str]] = []

    def add(self, name: str, text: str, sketch: Any) -> None:
        """Keep an abstract with its `Sketches.of`."""
        if sketch is not None:
            self._index.insert(len(self._kept), sketch)
            self._kept.append((name, text))

    def nearest(self, text: str, sketch: Any) -> Near | None:
        """The kept abstract most like `text`, the earliest of several; None if none is so near."""
        if sketch is None or not self._kept:
            return None
        best: Near | None = None
        for number in sorted(self._index.query(sketch)):
            name, other = self._kept[number]
            similarity = jaccard(text, other)
            if similarity > max(self._max_similarity, best.similarity if best else 0.0):
                best = Near(name, similarity)
        return best


class Sketches:
    """The MinHash of each abstract, made once."""

    def __init__(self) -> None:
        from datasketch import MinHash

        self._empty = MinHash(num_perm=BANDS * ROWS, seed=SEED)
        self._known: dict[str, Any] = {}

    def of(self, text: str) -> Any:
        """The MinHash of `text`; None if there is no word in it."""
        if text not in self._known:
            sketch = None
            if shared := runs(text):
                sketch = self._empty.copy()
                sketch.update_batch([run.encode() for run in shared])
            self._known[text] = sketch
        return self._known[text]


def jaccard(one: str, other: str) -> float:
    """The similarity of two texts, 0 to 1; 0 where one has no word."""
    left, right = runs(one), runs(other)
    return len(left & right) / len(left | right) if left and right else 0.0


def runs(text: str) -> frozenset[str]:
    """The runs of `RUN` words of a text, capitals and punctuation aside; of a shorter one, all."""
    found = words(text)
    last = max(len(found) - RUN, 0) if found else -1
    return frozenset(" ".join(found[start : start + RUN]) for start in range(last + 1))
