"""search_files: lines that match a regular expression."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.errors import InputError, UsageError
from harness.support.reading.bounded_files import Unsearched
from harness.tools import base, text_files
from harness.tools.base import BuiltinTool, Workplace
from harness.tools.reading import SECONDS, files, folder, matches

if TYPE_CHECKING:
    import regex

MAX_BYTES = 2_000_000
"""Maximum size of a file that is searched."""
MATCHES = 100
LINE = 200
"""Characters of a line around its match that are shown."""
PATTERN = 1_000
"""Characters of a regular expression."""


class SearchFiles(BuiltinTool):
    """Searches text files with a regular expression, within a time limit."""

    name = "search_files"
    summary = "Find the lines of text files that match a regular expression"

    class Arguments(base.Arguments):
        pattern: str = Field(min_length=1, max_length=PATTERN, description="regular expression")
        path: str = Field(".", min_length=1, description="a folder or file of the project")
        files: str = Field("*", description="only files that match, such as *.py")

    def shown(self, given: Arguments) -> str:
        return f"{given.pattern} in {given.path}"

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        import regex

        try:
            pattern = regex.compile(given.pattern, regex.MULTILINE)
        except (regex.error, RecursionError) as exc:
            raise UsageError(f"pattern: not a regular expression: {exc}") from exc
        until = time.monotonic() + SECONDS
        found: list[str] = []
        result: dict[str, Any] = {"matches": found}
        try:
            for path in self._searched(given, place):
                for line in self._lines(pattern, path, place, until):
                    if len(found) == MATCHES:
                        raise Unsearched(f"only the first {MATCHES} matches are listed")
                    found.append(line)
        except (Unsearched, TimeoutError) as exc:
            result["incomplete"] = str(exc) or f"not finished within {SECONDS:g} s"
        return result

    def _searched(self, given: Arguments, place: Workplace) -> Iterator[Path]:
        named = place.path(given.path)
        if named.is_file():
            place.allow_reading(named)
            yield named
            return
        root = folder(given.path, place)
        asked = not place.is_free(root)
        for path in files(root):
            try:
                real = place.path(str(path))
            except InputError:  # links in a circle
                continue
            inside = real.is_relative_to(root) if asked else place.is_free(real)
            if inside and matches(path.relative_to(root).as_posix(), given.files):
                yield path

    def _lines(
        self, pattern: regex.Pattern[str], path: Path, place: Workplace, until: float
    ) -> Iterator[str]:
        """Yield the matching lines of a text file as "path:number: line".

        Raises:
            TimeoutError: the search has taken too long.
            Interrupted: it was stopped.
        """
        place.cancel.check()
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            text = text_files.read(path, MAX_BYTES, str(path)).text.replace("\r\n", "\n")
        except InputError:  # binary, too large, or not readable
            return
        start, number, last = 0, 1, -1
        for match in pattern.finditer(text, timeout=left):
            place.cancel.check()
            number += text.count("\n", start, match.start())
            start = match.start()
            if start > last:
                begin = text.rfind("\n", 0, start) + 1
                last = text.find("\n", start)
                last = len(text) if last < 0 else last
                yield f"{place.shown(path)}:{number}: {_around(text[begin:last], start - begin)}"


def _around(line: str, place: int) -> str:
    """Return a line, cut to the part around a place in it."""
    begin = max(0, place - LINE // 2) if len(line) > LINE else 0
    end = begin + LINE
    return f"{'...' * (begin > 0)}{line[begin:end]}{'...' * (end < len(line))}"
