"""write_file, with the differences that the user sees before."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from harness.errors import InputError, OutputError, UsageError
from harness.runs import targets
from harness.support.reading.bounded_files import read_bytes
from harness.tools import base, text_files
from harness.tools.base import BuiltinTool, Workplace

MAX_BYTES = 1_000_000
"""Maximum size of a file that is written or changed."""
COMPARED = 2_000
"""Lines that are compared; more are shown as removed and added, since comparing takes long."""


class WriteFile(BuiltinTool):
    """Writes a text file, or replaces a passage of it."""

    name = "write_file"
    summary = "Write a text file, or replace one passage of it; the user sees the differences"

    class Arguments(base.Arguments):
        path: str = Field(min_length=1, description="the file, relative to the project")
        content: str = Field(description="the new content, or the new passage")
        replaces: str = Field(
            "", description="the passage to replace, which occurs once; default: the whole file"
        )

    def shown(self, given: Arguments) -> str:
        return given.path

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        path = place.path(given.path)
        if given.replaces:  # how often a passage occurs reveals what the file contains
            place.allow_reading(path)
        before = self._present(path, given.path)
        old = "" if before is None else self._text(before, given.path)
        new = _replaced(old, given) if given.replaces else given.content
        content = _encoded(new, given.path)
        place.allow("write", str(path), _detail(old, new, before is None))
        if place.path(given.path) != path or self._present(path, given.path) != before:
            raise OutputError(
                "was changed while the user was asked", where=given.path, hint="Read it again."
            )
        self._write(path, content, before, place)
        return {"path": place.shown(path), "bytes": len(content), "created": before is None}

    def _present(self, path: Path, shown: str) -> bytes | None:
        if path.is_dir():
            raise InputError("is a folder", where=shown)
        try:
            return read_bytes(path, MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise InputError(f"cannot be changed: {exc.strerror}", where=shown) from exc

    def _text(self, content: bytes, shown: str) -> str:
        found = text_files.decoded(content)
        if found is None or not found.encoding.startswith("utf-8"):
            what = "binary" if found is None else f"in {found.encoding}"
            raise InputError(
                f"is {what}, and only UTF-8 text is replaced",
                where=shown,
                hint="Write to another file.",
            )
        return found.text

    def _write(self, path: Path, content: bytes, before: bytes | None, place: Workplace) -> None:
        """Write the file, unless it has changed since the user allowed it."""
        known = None if before is None else hashlib.sha256(before).hexdigest()

        def produce(file: IO[bytes]) -> None:
            file.write(content)

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"not written: {exc.strerror}", where=str(path)) from exc
        targets.write(
            path, produce, lambda sha256: place.run.wrote(path, sha256), lambda now: now == known
        )


def _replaced(old: str, given: WriteFile.Arguments) -> str:
    passage, content = given.replaces, given.content
    if "\r\n" in old and passage not in old:
        passage, content = (text.replace("\n", "\r\n") for text in (passage, content))
    if (count := old.count(passage)) != 1:
        raise UsageError(
            f"the passage to replace occurs {count} times",
            where=given.path,
            hint="Read the file, and give a passage that occurs once.",
        )
    return old.replace(passage, content)


def _encoded(text: str, shown: str) -> bytes:
    try:
        content = text.encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"content: character {exc.start} is not text", where=shown) from exc
    if len(content) > MAX_BYTES:
        raise UsageError(f"content: more than {MAX_BYTES // 1_000_000} MB", where=shown)
    return content


def _detail(old: str, new: str, is_new: bool) -> str:
    if is_new:
        return "\n".join(["(a new file)", *(f"+{line}" for line in new.splitlines())])
    return "\n".join(_differences(old.splitlines(), new.splitlines())) or "(the same content)"


def _differences(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a unified diff without its header."""
    if len(old) + len(new) <= COMPARED:
        yield from list(difflib.unified_diff(old, new, lineterm=""))[2:]
        return
    same = min(len(old), len(new))
    begin = next((n for n in range(same) if old[n] != new[n]), same)
    same -= begin
    end = next((n for n in range(same) if old[-1 - n] != new[-1 - n]), same)
    yield f"@@ from line {begin + 1} @@"
    yield from (f"-{line}" for line in old[begin : len(old) - end])
    yield from (f"+{line}" for line in new[begin : len(new) - end])
