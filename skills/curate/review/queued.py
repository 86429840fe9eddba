"""The annotations of a queue, each read when it is first used: a review needs few of many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from skills.curate.inputs.items import Item

CHUNK = 500
"""Annotations that are read at once."""


class Queued:
    """Annotations in the order of their keys.

    Args:
        read: returns the annotations of keys, in their order.
    """

    def __init__(
        self, keys: Iterable[str], read: Callable[[Sequence[str]], Iterable[Item]]
    ) -> None:
        self.keys = tuple(keys)
        self.read = read
        self._known: dict[str, Item] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: int) -> Item:
        return next(self.some(self.keys[at : at + 1]))

    def __iter__(self) -> Iterator[Item]:
        return self.some(self.keys)

    def ordered(self, keys: Iterable[str]) -> Queued:
        """Return the annotations of these keys, in their order; no annotation is read twice."""
        made = Queued(keys, self.read)
        made._known = self._known
        return made

    def some(self, keys: Iterable[str]) -> Iterator[Item]:
        """Yield the annotations of these keys, in their order."""
        wanted = iter(keys)
        while chunk := list(itertools.islice(wanted, CHUNK)):
            if unknown := [key for key in chunk if key not in self._known]:
                self._known.update(zip(unknown, self.read(unknown), strict=True))
            yield from (self._known[key] for key in chunk)
