"""read_file and list_files."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.errors import InputError
from harness.support.reading.bounded_files import Unsearched, walk
from harness.tools import base, text_files
from harness.tools.base import BuiltinTool, Workplace

MAX_BYTES = 20_000_000
"""Maximum size of a file that is read in parts."""
CHARACTERS = 16_000
"""Characters of a result."""
LINE = 2_000
"""Characters of a line that are kept."""
ENTRIES = 500
"""Entries of a list."""
SCANNED = 100_000
"""Entries that a search looks at."""
SECONDS = 10.0
"""Time limit of a search."""


class ReadFile(BuiltinTool):
    """Reads lines of a text file."""

    name = "read_file"
    summary = "Read a text file, or lines of it"

    class Arguments(base.Arguments):
        path: str = Field(min_length=1, description="the file, relative to the project")
        offset: int = Field(1, ge=1, description="number of the first line")
        limit: int = Field(2_000, ge=1, description="maximum number of lines")

    def shown(self, given: Arguments) -> str:
        return given.path

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        path = place.path_to_read(given.path)
        place.allow_reading(path)
        file = text_files.read(path, MAX_BYTES, given.path)
        lines = file.text.splitlines()
        if given.offset > max(1, len(lines)):
            raise InputError(f"has only {len(lines):,} lines", where=given.path)
        kept, room = [], CHARACTERS
        for line in lines[given.offset - 1 : given.offset - 1 + given.limit]:
            cut = _cut(line)
            room -= len(cut) + 1
            if room < 0:
                break
            kept.append(cut)
        following = given.offset + len(kept)
        result: dict[str, Any] = {"path": place.shown(path), "text": "\n".join(kept)}
        result["lines"] = len(lines)
        if following <= len(lines):
            result["next_offset"] = following
        return (
            result if file.encoding.startswith("utf-8") else {**result, "encoding": file.encoding}
        )


class ListFiles(BuiltinTool):
    """Lists a folder, or all files below it."""

    name = "list_files"
    summary = "List the files and folders of a folder"

    class Arguments(base.Arguments):
        path: str = Field(".", min_length=1, description="the folder, relative to the project")
        pattern: str = Field("*", description="only names or paths that match, such as *.py")
        recursive: bool = Field(False, description="list the folders below it, too")

    def shown(self, given: Arguments) -> str:
        pattern = "" if given.pattern == "*" else f" {given.pattern}"
        return f"{given.path}{pattern}{' (recursive)' if given.recursive else ''}"

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        root = folder(given.path, place)
        found: list[str] = []
        result: dict[str, Any] = {"path": place.shown(root), "entries": found}
        try:
            for path, is_folder in _entries(root, given.recursive):
                name = path.relative_to(root).as_posix()
                if not matches(name, given.pattern):
                    continue
                if len(found) == ENTRIES:
                    raise Unsearched(f"only the first {ENTRIES} entries are listed")
                found.append(f"{name}/" if is_folder else name)
        except Unsearched as exc:
            result["incomplete"] = str(exc)
        return result


def folder(given: str, place: Workplace) -> Path:
    """Return a folder that may be read.

    Raises:
        InputError: it is missing, or not a folder.
        NotAllowed: the user does not allow it.
    """
    path = place.path_to_read(given)
    place.allow_reading(path)
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "there is no such folder"
        raise InputError(what, where=given)
    return path


def matches(name: str, pattern: str) -> bool:
    """Return True if a relative path, or its last part, matches a pattern of a shell."""
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name.rpartition("/")[2], pattern)


def files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, without those of git; links to folders are not followed.

    Raises:
        Unsearched: there are too many, or it takes too long.
    """
    for path, is_folder in _entries(root, recursive=True):
        if not is_folder:
            yield path


def _entries(root: Path, recursive: bool) -> Iterator[tuple[Path, bool]]:
    for parent, folders, others in walk(root, SCANNED, until=time.monotonic() + SECONDS):
        if ".git" in folders:
            folders.remove(".git")
        for name in sorted([*folders, *others]):
            yield parent / name, name in folders
        if not recursive:
            return


def _cut(line: str) -> str:
    if len(line) <= LINE:
        return line
    return f"{line[:LINE]}... ({len(line) - LINE:,} more characters)"
