"""The result of a skill: for people, for programs, and for the files to which it is saved."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated_dataclass

from harness.errors import HarnessError, SkillFailed

Render = Callable[[], str]
Write = Callable[[IO[bytes]], object]
_LAZY = ConfigDict(arbitrary_types_allowed=True, defer_build=True)


@validated_dataclass(frozen=True, slots=True, config=_LAZY)
class Result:
    """The result of a skill. The types of the fields are validated.

    Attributes:
        text: the result for a person, printed to stdout.
        data: the result for a program, printed by `--json`. Default: {"text": text}.
        records: a function that returns an iterator over the records, for results that are too
            large for `data`. The formats of plugins write these records.
            Without `records`, the formats write the items of `data` if it is a list, or else
            `data` as one record.
        renderers: functions that return the text of the file to save, by suffix.
        writers: functions that write large or binary results to an open binary file, by suffix.
        folders: functions that write a result into a folder, by suffix, for skills with
            `Skill.folders`. They are called with the path of the folder, which may not exist yet.
        companions: writers of the files that `Skill.companions` names; a file without a writer is
            not written.
        summary: figures about the work. `--json` prints this summary instead of `data`, with the
            paths of the saved files.
        exit_code: the exit code; not 0 if a part of the work failed.
        stopped: the error that ended the work early, or None. Finished work is saved and printed
            before the error.
        leave: True to end the interactive session.
        terminal: a function that returns an object of the package rich, which a terminal shows
            instead of `text`, even if the result is saved. The function is not called for a pipe
            or `--json`.
        next: a line to try next, shown on a terminal.
    """

    text: str = ""
    data: Any = None
    renderers: Mapping[str, Render] = field(default_factory=dict)
    writers: Mapping[str, Write] = field(default_factory=dict)
    companions: Mapping[str, Write] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    exit_code: Annotated[int, Field(ge=0, le=255, strict=True)] = 0
    stopped: HarnessError | None = None
    leave: bool = False
    records: Callable[[], Iterable[Any]] | None = None
    terminal: Callable[[], Any] | None = None
    next: str = ""
    folders: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return self.exit_code if self.stopped is None else self.stopped.exit_code

    @property
    def saves(self) -> frozenset[str]:
        """The suffixes that `write` accepts."""
        return frozenset((*self.renderers, *self.writers))

    @property
    def has_records(self) -> bool:
        """True if the result has records that the format of a plugin can write."""
        return self.records is not None or self.data is not None or bool(self.text)

    def each(self) -> Iterator[Any]:
        """Yield the records of the result.

        If `records` is None, the records are the items of `data` if it is a list, or else `data` as
        one record. If `data` is None too, the only record is {"text": text}.
        """
        if self.records is not None:
            yield from self.records()
        elif isinstance(self.data, list):
            yield from self.data
        else:
            yield {"text": self.text} if self.data is None else self.data

    def write(self, suffix: str, file: IO[bytes]) -> None:
        """Write the result to an open file, in the format of `suffix`."""
        if suffix in self.writers:
            self.writers[suffix](file)
        else:
            file.write(self.renderers[suffix]().encode())

    def as_json(self) -> str:
        """Return the summary, or else the data, as JSON; NaN becomes null, and paths become text.

        Raises:
            SkillFailed: the data cannot be serialized.
        """
        data = self.data if self.summary is None else self.summary
        try:
            return json.dumps(
                {"text": self.text} if data is None else _finite(data),
                ensure_ascii=False,
                indent=2,
                default=str,
            )
        except (TypeError, ValueError, RecursionError) as exc:
            raise SkillFailed(f"the result cannot be written as JSON: {exc}") from exc


def _finite(data: Any) -> Any:
    """Return `data` with NaN and infinity, which JSON cannot represent, replaced by None."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


class Format(ABC):
    """Writes the results of skills to files with one suffix.

    Attributes:
        suffix: the suffix in lower case, with the leading dot, such as ".org". The format is not
            used for a skill that itself saves files with this suffix.
        summary: one line, shown by /skills.
        skills: the names of the skills whose records the format can write; empty for all skills.
    """

    suffix: ClassVar[str]
    summary: ClassVar[str]
    skills: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def write(self, records: Iterator[Any], file: IO[bytes]) -> None:
        """Write the records to an open file, without closing it.

        Args:
            records: the records of the result (`Result.each`). Read them one at a time, since all
                records together may not fit into memory.
        """
