"""The files of a skill's folder as its instructions refer to them: read on reference, never before.

A reference is the target of a Markdown link, or a word that names a file of the folder
("references/forms.md"). It leads nowhere else: what is absolute, climbs out with "..", or is a link
out of the folder is refused, and so is what is no text or too long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import UsageError

LISTED = 100
"""Files of the folder that the model is told of."""
SIZE = 64 * 1024
"""Bytes of one file that is read."""
_REFERENCE = re.compile(
    r"(?P<image>!?)\[[^\]\n]*\]\(\s*<?(?P<target>[^)<>\s]+)>?[^)\n]*\)|(?P<word>[\w.~/-]+)",
    re.ASCII,
)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)
_SKIPPED = {"__pycache__", "node_modules", ".git"}


@dataclass(frozen=True, slots=True)
class Bundled:
    """One file that the instructions refer to, with its text."""

    name: str
    text: str


def names(folder: Path) -> list[str]:
    """The files of the folder that a model may be told of, the first ones by name."""
    found: list[str] = []
    for place, children, files in os.walk(folder):
        children[:] = sorted(c for c in children if c not in _SKIPPED)
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in files if name.lower() != "skill.md"]
        if len(found) > 10 * LISTED:  # a tree of packages, most likely
            break
    return [name for name in sorted(found) if is_inside(folder, folder / name)][:LISTED]


def referred(folder: Path, body: str) -> tuple[list[Bundled], list[str]]:
    """What the instructions refer to, in their order, and why the rest of it is not read."""
    files: list[Bundled] = []
    refused: list[str] = []
    for name in dict.fromkeys(_references(folder, body)):
        try:
            files.append(Bundled(name, read(folder, name)))
        except UsageError as exc:
            refused.append("".join(c for c in str(exc) if c.isprintable()))
    return files, refused


def read(folder: Path, name: str) -> str:
    """The text of one file of the folder.

    Raises:
        UsageError: it lies outside of the folder, or is not there, no text, or too long.
    """
    path = folder / name
    if Path(name).is_absolute() or name.startswith("~") or ".." in PurePosixPath(name).parts:
        raise UsageError("lies outside of the skill's folder", where=name)
    if not _exists(path):
        raise UsageError("is not there", where=name)
    if not is_inside(folder, path):
        raise UsageError("is a link out of the skill's folder", where=name)
    if not path.is_file():
        raise UsageError("is no file", where=name)
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
    except OSError as exc:
        raise UsageError(f"cannot be read: {exc.strerror}", where=name) from exc
    if len(content) > SIZE:
        raise UsageError(f"has more than {SIZE // 1024} KB", where=name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError("is no UTF-8 text", where=name) from exc


def _references(folder: Path, body: str) -> Iterator[str]:
    """The targets of links, and the words that are a file's name or would climb out."""
    for match in _REFERENCE.finditer(body):
        word, target = match["word"], match["target"]
        if target is not None:
            if not match["image"] and not _ELSEWHERE.match(target):
                yield _plain(target.partition("#")[0])
            continue
        parts = PurePosixPath(word).parts
        if ".." in parts:
            if parts[-1] != "..":
                yield word
        elif not word.startswith(("/", "~")) and ("/" in word or "." in word):
            name = _plain(word.rstrip("./-"))
            if name and _exists(folder / name) and not (folder / name).is_dir():
                yield name


def _plain(name: str) -> str:
    """One spelling for "./x.md" and "x.md"; what is not to be read stays as it is."""
    return name if ".." in name else PurePosixPath(name).as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:  # a name that is too long
        return False


def is_inside(folder: Path, path: Path) -> bool:
    """Whether the file itself, all links followed, lies in the folder itself."""
    try:
        return path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # it leads nowhere, or in a circle
        return False
