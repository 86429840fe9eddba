"""Files of a skill's folder that its instructions refer to, read only when referred to.

A reference is the target of a Markdown link, or a word that names a file of the folder
("references/forms.md"). Absolute paths, "..", links out of the folder, binary files and files that
are too long are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.agent_skills.skill_md import is_inside
from harness.errors import UsageError

MAX_LISTED = 100
"""Maximum number of file names given to the model."""
SIZE = 64 * 1024
"""Maximum size of a file, in bytes."""
_REFERENCE = re.compile(
    r"(?P<image>!?)\[[^\]\n]*\]\(\s*<?(?P<target>[^)<>\s]+)>?[^)\n]*\)|(?P<word>[\w.~/-]+)",
    re.ASCII,
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)
_SKIPPED = {"__pycache__", "node_modules", ".git"}


@dataclass(frozen=True, slots=True)
class Resource:
    """A file that the instructions refer to, with its text."""

    name: str
    text: str


def names(folder: Path) -> list[str]:
    """Return the names of the folder's files, sorted and limited in number."""
    found: list[str] = []
    for place, children, files in os.walk(folder):
        children[:] = sorted(c for c in children if c not in _SKIPPED)
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in files if name.lower() != "skill.md"]
        if len(found) > 10 * MAX_LISTED:
            break
    return [name for name in sorted(found) if is_inside(folder, folder / name)][:MAX_LISTED]


def referred(folder: Path, body: str) -> tuple[list[Resource], list[str]]:
    """Return the files that the instructions refer to, and the reasons for those not read."""
    files: list[Resource] = []
    refused: list[str] = []
    for name in dict.fromkeys(_references(folder, body)):
        try:
            files.append(Resource(name, read(folder, name)))
        except UsageError as exc:
            refused.append("".join(c for c in str(exc) if c.isprintable()))
    return files, refused


def read(folder: Path, name: str) -> str:
    """Return the text of a file of the folder.

    Raises:
        UsageError: it is outside of the folder, missing, not text, or too long.
    """
    path = folder / name
    if Path(name).is_absolute() or name.startswith("~") or ".." in PurePosixPath(name).parts:
        raise UsageError("is outside of the skill's folder", where=name)
    if not _exists(path):
        raise UsageError("does not exist", where=name)
    if not is_inside(folder, path):
        raise UsageError("is a link out of the skill's folder", where=name)
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
        raise UsageError("is not UTF-8 text", where=name) from exc


def _references(folder: Path, body: str) -> Iterator[str]:
    """Yield the targets of links, and the words that name a file or contain ".."."""
    for match in _REFERENCE.finditer(body):
        word, target = match["word"], match["target"]
        if target is not None:
            if not match["image"] and not _URL.match(target):
                yield _normalized(target.partition("#")[0])
            continue
        parts = PurePosixPath(word).parts
        if ".." in parts:
            if parts[-1] != "..":
                yield word
        elif not word.startswith(("/", "~")) and ("/" in word or "." in word):
            name = _normalized(word.rstrip("./-"))
            if name and _exists(folder / name) and not (folder / name).is_dir():
                yield name


def _normalized(name: str) -> str:
    """Return "x.md" for "./x.md"; a name with ".." is unchanged."""
    return name if ".." in name else PurePosixPath(name).as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:  # the name is too long
        return False
