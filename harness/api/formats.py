"""A file format that a plugin brings: any skill's records, under a suffix of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, Any, ClassVar


class Format(ABC):
    """What writes the results of skills to files with one suffix.

    Attributes:
        suffix: with its full stop, in lower case: ".bib". A skill that saves this suffix by itself
            goes on doing so.
        summary: one line, shown by /skills.
        skills: the names of the skills whose records it can write; none means all of them.
    """

    suffix: ClassVar[str]
    summary: ClassVar[str]
    skills: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def write(self, records: Iterator[Any], file: IO[bytes]) -> None:
        """Write to an open file, which stays open.

        Args:
            records: `Result.records` of the skill: what `--json` would print of each one. They come
                one at a time, and there may be more of them than memory holds.
        """
