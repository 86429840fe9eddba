"""A file format registered by a plugin, for the records of any skill."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, Any, ClassVar


class Format(ABC):
    """Writes the results of skills to files with one suffix.

    Attributes:
        suffix: in lower case, with its full stop: ".org". A skill that itself saves this suffix
            continues to do so.
        summary: one line, shown by /skills.
        skills: the names of the skills whose records it can write; empty for all of them.
    """

    suffix: ClassVar[str]
    summary: ClassVar[str]
    skills: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def write(self, records: Iterator[Any], file: IO[bytes]) -> None:
        """Write the records to an open file, without closing it.

        Args:
            records: `Result.records` of the skill, each as `--json` would print it. They arrive one
                at a time, and there may be more of them than fit into memory.
        """
