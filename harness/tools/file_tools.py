"""The tools read_file, list_files, search_files and write_file."""

from __future__ import annotations

import codecs
import difflib
import fnmatch
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from harness.errors import InputError, OutputError, UsageError
from harness.runs import targets
from harness.support.bounded_files import Unsearched, read_bytes, walk
from harness.tools.builtin_tools import BuiltinTool, ToolArguments, Workplace

if TYPE_CHECKING:
    import regex

MAX_READ = 20_000_000
"""Maximum size in bytes of a file from which read_file reads lines."""
CHARACTERS = 16_000
"""Maximum number of characters of a text that read_file returns."""
LINE = 2_000
"""Maximum number of characters of a line that read_file returns."""
ENTRIES = 500
"""Maximum number of entries that list_files returns."""
SCANNED = 100_000
"""Maximum number of entries that list_files or search_files examines."""
SECONDS = 10.0
"""Time limit of list_files and search_files in seconds."""
MAX_SEARCHED = 2_000_000
"""Maximum size in bytes of a file that is searched."""
MATCHES = 100
MATCHED_LINE = 200
"""Maximum number of characters of a matching line that search_files shows."""
PATTERN = 1_000
"""Maximum number of characters of a regular expression."""
MAX_WRITTEN = 1_000_000
"""Maximum size in bytes of a file that is written or changed."""
COMPARED = 2_000
"""Maximum total number of lines of two texts for which a unified diff is computed. For longer
texts, all lines from the first to the last difference are shown as removed and added.
"""
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""The byte order marks at the beginning of UTF-16 text."""
LEGACY = "cp1252"
"""The assumed encoding of text that cannot be decoded as UTF-8 or UTF-16."""


class TextFile(NamedTuple):
    """The text of a file with unchanged line endings, and the encoding of the file."""

    text: str
    encoding: str


def read_text_file(path: Path, limit: int, shown: str) -> TextFile:
    """Return the content and encoding of a text file of at most `limit` bytes.

    Args:
        shown: the path for messages.

    Raises:
        InputError: the file is missing, a folder, too large, binary, or cannot be read.
    """
    if path.is_dir():
        raise InputError("is a folder", where=shown, hint="list_files lists it.")
    try:
        content = read_bytes(path, limit)
    except FileNotFoundError as exc:
        raise InputError(
            "there is no such file", where=shown, hint="list_files lists the files."
        ) from exc
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror}", where=shown) from exc
    found = decoded(content)
    if found is None:
        raise InputError(f"is a binary file of {len(content):,} bytes", where=shown)
    return found


def decoded(content: bytes) -> TextFile | None:
    """Return the text and the encoding of a file's content, or None if the content is binary."""
    encoding = "utf-16" if content.startswith(UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        encoding = LEGACY
        text = content.decode(encoding, "replace")
    return None if "\0" in text else TextFile(text, encoding)


def in_editor(path: Path, place: Workplace) -> str | None:
    """Return the text of an existing file of the project, as the user's editor shows it.

    The result is None if no editor provides the text, or if the file is outside of the project or
    larger than `MAX_WRITTEN`. The caller must then read the file.
    """
    editor = place.frontend.files
    if editor is None or not path.is_relative_to(place.project):
        return None
    return editor.read(path) if path.stat().st_size <= MAX_WRITTEN else None


class ReadFile(BuiltinTool):
    """Reads lines of a text file."""

    name = "read_file"
    summary = "Read a text file, or lines of it"

    class Arguments(ToolArguments):
        path: str = Field(min_length=1, description="the path of the file, relative to the project")
        offset: int = Field(1, ge=1, description="number of the first line to read")
        limit: int = Field(2_000, ge=1, description="maximum number of lines to read")

    def shown(self, given: Arguments) -> str:
        return given.path

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        path = place.path_to_read(given.path)
        place.allow_reading(path)
        file = read_text_file(path, MAX_READ, given.path)
        if (edited := in_editor(path, place)) is not None:
            file = TextFile(edited, "utf-8")
        lines = file.text.splitlines()
        if given.offset > max(1, len(lines)):
            raise InputError(f"ends at line {len(lines):,}", where=given.path)
        kept, room = [], CHARACTERS
        for line in lines[given.offset - 1 : given.offset - 1 + given.limit]:
            more = len(line) - LINE
            cut = f"{line[:LINE]}... ({more:,} more characters)" if more > 0 else line
            room -= len(cut) + 1
            if room < 0:
                break
            kept.append(cut)
        following = given.offset + len(kept)
        text = "\n".join(kept)
        result: dict[str, Any] = {"path": place.shown(path), "text": text, "lines": len(lines)}
        if following <= len(lines):
            result["next_offset"] = following
        if not file.encoding.startswith("utf-8"):
            result["encoding"] = file.encoding
        return result


class ListFiles(BuiltinTool):
    """Lists the entries of a folder, or all files and folders below it."""

    name = "list_files"
    summary = "List the files and folders of a folder"

    class Arguments(ToolArguments):
        path: str = Field(
            ".", min_length=1, description="the path of the folder, relative to the project"
        )
        pattern: str = Field(
            "*", description="list only names or paths that match this pattern, such as *.py"
        )
        recursive: bool = Field(False, description="also list the content of subfolders")

    def shown(self, given: Arguments) -> str:
        pattern = "" if given.pattern == "*" else f" {given.pattern}"
        return f"{given.path}{pattern}{' (recursive)' if given.recursive else ''}"

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        root = folder_to_read(given.path, place)
        found: list[str] = []
        result: dict[str, Any] = {"path": place.shown(root), "entries": found}
        try:
            for path, is_folder in _entries(root, given.recursive):
                name = path.relative_to(root).as_posix()
                if not matches_pattern(name, given.pattern):
                    continue
                if len(found) == ENTRIES:
                    raise Unsearched(f"only the first {ENTRIES} entries are listed")
                found.append(f"{name}/" if is_folder else name)
        except Unsearched as exc:
            result["incomplete"] = str(exc)
        return result


def folder_to_read(given: str, place: Workplace) -> Path:
    """Return the resolved path of a folder, after asking for permission if it is needed.

    Raises:
        InputError: the path is missing, or not a folder.
        NotAllowed: the user does not allow reading the folder.
    """
    path = place.path_to_read(given)
    place.allow_reading(path)
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "there is no such folder"
        raise InputError(what, where=given)
    return path


def matches_pattern(name: str, pattern: str) -> bool:
    """Return True if a relative path, or its last part, matches a shell pattern."""
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name.rpartition("/")[2], pattern)


def _entries(root: Path, recursive: bool) -> Iterator[tuple[Path, bool]]:
    """Yield each path in a folder except .git, and True if the path is a folder.

    Args:
        recursive: True to enter subfolders; links to folders are not followed.

    Raises:
        Unsearched: there are too many entries, or the search takes too long.
    """
    for parent, folders, others in walk(root, SCANNED, until=time.monotonic() + SECONDS):
        if ".git" in folders:
            folders.remove(".git")
        for name in sorted([*folders, *others]):
            yield parent / name, name in folders
        if not recursive:
            return


class SearchFiles(BuiltinTool):
    """Searches text files with a regular expression, within a time limit."""

    name = "search_files"
    summary = "Find the lines of text files that match a regular expression"

    class Arguments(ToolArguments):
        pattern: str = Field(min_length=1, max_length=PATTERN, description="the regular expression")
        path: str = Field(
            ".", min_length=1, description="the folder or file to search, relative to the project"
        )
        files: str = Field(
            "*",
            description="search only files whose name or path matches this pattern, such as *.py",
        )

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
            late = time.monotonic() >= until
            result["incomplete"] = f"not finished within {SECONDS:g} s" if late else str(exc)
        return result

    def _searched(self, given: Arguments, place: Workplace) -> Iterator[Path]:
        named = place.path(given.path)
        if named.is_file():
            place.allow_reading(named)
            yield named
            return
        root = folder_to_read(given.path, place)
        asked = not place.is_free(root)
        for path, is_folder in _entries(root, recursive=True):
            if is_folder:
                continue
            try:
                real = place.path(str(path))
            except InputError:  # raised for a loop of links
                continue
            inside = real.is_relative_to(root) if asked else place.is_free(real)
            if inside and matches_pattern(path.relative_to(root).as_posix(), given.files):
                yield path

    def _lines(
        self, pattern: regex.Pattern[str], path: Path, place: Workplace, until: float
    ) -> Iterator[str]:
        """Yield the matching lines of a text file as "path:number: line".

        Raises:
            TimeoutError: the search takes too long.
            Interrupted: the search was stopped.
        """
        place.cancel.check()
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            text = read_text_file(path, MAX_SEARCHED, str(path)).text.replace("\r\n", "\n")
        except InputError:  # raised if the file is binary, too large, or not readable
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
                line, middle = text[begin:last], start - begin
                first = max(0, middle - MATCHED_LINE // 2) if len(line) > MATCHED_LINE else 0
                end = first + MATCHED_LINE
                shown = f"{'...' * (first > 0)}{line[first:end]}{'...' * (end < len(line))}"
                yield f"{place.shown(path)}:{number}: {shown}"


class WriteFile(BuiltinTool):
    """Writes a text file, or replaces a passage of it."""

    name = "write_file"
    summary = "Write a text file, or replace one passage of it; the user sees the differences"

    class Arguments(ToolArguments):
        path: str = Field(min_length=1, description="the path of the file, relative to the project")
        content: str = Field(
            description="the new content of the file, or of the passage in `replaces`"
        )
        replaces: str = Field(
            "", description="the passage to replace, which must occur once; default: the whole file"
        )

    def shown(self, given: Arguments) -> str:
        return given.path

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        path = place.path(given.path)
        if given.replaces:  # the number of occurrences of a passage reveals content of the file
            place.allow_reading(path)
        before = self._present(path, given.path, place)
        old = "" if before is None else self._text(before, given.path)
        new = _replaced(old, given) if given.replaces else given.content
        try:
            content = new.encode()
        except UnicodeEncodeError as exc:
            message = f"content: character {exc.start} is not text"
            raise UsageError(message, where=given.path) from exc
        if len(content) > MAX_WRITTEN:
            limit = f"content: more than {MAX_WRITTEN // 1_000_000} MB"
            raise UsageError(limit, where=given.path)
        if before is None:
            detail = "\n".join(["(a new file)", *(f"+{line}" for line in new.splitlines())])
        else:
            changes = differences(old.splitlines(), new.splitlines())
            detail = "\n".join(changes) or "(the same content)"
        place.allow("write", str(path), detail)
        if place.path(given.path) != path or self._present(path, given.path, place) != before:
            raise OutputError(
                "was changed while the user was asked",
                where=given.path,
                hint="Read the file again.",
            )
        self._write(path, content, before, place)
        return {"path": place.shown(path), "bytes": len(content), "created": before is None}

    def _present(self, path: Path, shown: str, place: Workplace) -> bytes | None:
        if path.is_dir():
            raise InputError("is a folder", where=shown)
        try:
            content = read_bytes(path, MAX_WRITTEN)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise InputError(f"cannot be changed: {exc.strerror}", where=shown) from exc
        edited = None if decoded(content) is None else in_editor(path, place)
        return content if edited is None else edited.encode()

    def _text(self, content: bytes, shown: str) -> str:
        found = decoded(content)
        if found is None or not found.encoding.startswith("utf-8"):
            what = "binary" if found is None else f"in {found.encoding}"
            raise InputError(
                f"is {what}, and only UTF-8 text is replaced",
                where=shown,
                hint="Write to another file.",
            )
        return found.text

    def _write(self, path: Path, content: bytes, before: bytes | None, place: Workplace) -> None:
        """Write the file.

        Raises:
            OutputError: the file cannot be written, or has changed since the user allowed the call.
        """
        known = None if before is None else hashlib.sha256(before).hexdigest()
        with targets.reported(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        editor = place.frontend.files if path.is_relative_to(place.project) else None
        present = None if before is None else before.decode(errors="replace")
        if editor is not None and editor.write(path, content.decode(), present):
            place.run.wrote(path, hashlib.sha256(content).hexdigest())
            return
        targets.write(
            path,
            lambda file: file.write(content),
            lambda sha256: place.run.wrote(path, sha256),
            lambda now: now == known,
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


def differences(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a unified diff without its header; for long texts, see `COMPARED`."""
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
