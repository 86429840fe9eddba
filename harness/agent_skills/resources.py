"""Files of a skill's folder that its instructions refer to, read only when referred to.

A reference is the target of a Markdown link, or a word that names a file of the folder
("references/forms.md"). Absolute paths, "..", links out of the folder, binary files and files that
are too long are refused.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.agent_skills.skill_md import is_inside
from harness.errors import UsageError
from harness.support.reading.bounded_files import Unsearched, read_text, walk

MAX_LISTED = 100
"""Maximum number of file names given to the model."""
MAX_ENTRIES = 10_000
"""Maximum number of entries of the folder that are searched for them."""
SIZE = 64 * 1024
"""Maximum size of a file, in bytes."""
MAX_READ = 100
"""Maximum number of files that one body refers to."""
MAX_WORDS = 1000
"""Maximum number of words of one body that are looked up as names of files."""
_REFERENCE = re.compile(
    # No part is searched twice, so that the time is linear in the length of the body.
    r"(?P<image>!?)\[[^\]\n]{0,300}+\]\(\s*+<?(?P<target>(?:(?!\]\()[^)<>\s])++)"
    r"(?:[<> \t][^)\n]{0,300}+)?+\)|(?P<word>[\w.~/-]++)",
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
    """Return the printable names of the folder's files, sorted and limited in number."""
    found: list[str] = []
    with contextlib.suppress(Unsearched):
        for place, children, files in walk(folder, MAX_ENTRIES):
            children[:] = [c for c in children if c not in _SKIPPED]
            inside = Path(place).relative_to(folder)
            found += [(inside / name).as_posix() for name in files if name.lower() != "skill.md"]
    shown = sorted(name for name in found if name.isprintable())  # others are not text for a model
    return [name for name in shown if is_inside(folder, folder / name)][:MAX_LISTED]


def referred(folder: Path, body: str) -> tuple[list[Resource], list[str]]:
    """Return the files that the instructions refer to, and the reasons for those not read."""
    files: list[Resource] = []
    refused: list[str] = []
    wanted = list(itertools.islice(_references(folder, body), MAX_READ + 1))
    for name in wanted[:MAX_READ]:
        try:
            files.append(Resource(name, read(folder, name)))
        except UsageError as exc:
            refused.append("".join(c for c in str(exc) if c.isprintable()))
    if len(wanted) > MAX_READ:
        refused.append(f"all references after the first {MAX_READ}")
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
        return read_text(path, SIZE)
    except OSError as exc:
        raise UsageError(f"cannot be read: {exc.strerror}", where=name) from exc
    except UnicodeDecodeError as exc:
        raise UsageError("is not UTF-8 text", where=name) from exc


def _references(folder: Path, body: str) -> Iterator[str]:
    """Yield the targets of links, and the words that name a file or contain "..", once each."""
    seen: set[str] = set()
    words = 0
    for match in _REFERENCE.finditer(body):
        target, word = match["target"], match["word"]
        name = _target(match) if target is not None else _file_name(word)
        if not name or name in seen:
            continue
        seen.add(name)
        if target is None and ".." not in PurePosixPath(name).parts:
            words += 1
            if words > MAX_WORDS or not _is_file(folder / name):
                continue
        yield name


def _target(match: re.Match[str]) -> str:
    """Return the file that a link names, or "" if it is an image or leads to a page."""
    if match["image"] or _URL.match(match["target"]):
        return ""
    return _normalized(match["target"].partition("#")[0])


def _file_name(word: str) -> str:
    """Return a word that may name a file of the folder, or "" for any other."""
    parts = PurePosixPath(word).parts
    if ".." in parts:
        return word if parts[-1] != ".." else ""
    if word.startswith(("/", "~")) or not ("/" in word or "." in word):
        return ""
    return _normalized(word.rstrip("./-"))


def _is_file(path: Path) -> bool:
    return _exists(path) and not path.is_dir()


def _normalized(name: str) -> str:
    """Return "x.md" for "./x.md"; a name with ".." is unchanged."""
    return name if ".." in name else PurePosixPath(name).as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:  # the name is too long
        return False
