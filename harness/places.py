"""Paths that a model may access, and paths that control git or the harness."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.settings import Settings
from harness.support.bounded_files import Unsearched, walk
from harness.support.text_input import TEXT_WORDS, at_home, unquote

GIT, INSTRUCTIONS_FILE = ".git", "AGENTS.md"
MOST_LINKS = 20_000
"""Maximum number of entries below a folder that are checked for links.

The value is also the maximum number of matches of a glob pattern.
"""


def named_places(word: str, settings: Settings) -> Iterator[Path]:
    """Yield the resolved paths that an argument such as "../x" or "--out=/x" may name."""
    parts = [word, *re.split("[=:,@]", word)[1:]]
    if word.startswith("-"):
        parts += [word[word.index(sign) :] for sign in ("/", "..") if sign in word]
    return (_place(part, settings) for part in parts if part)


def _place(name: str | Path, settings: Settings) -> Path:
    """Resolve a name relative to the project, and return the path; "/" after an error."""
    try:
        return (settings.project_dir / at_home(name)).resolve()
    except (OSError, RuntimeError, ValueError):  # for example, for a loop of symbolic links
        return Path("/")


def places_to_read(texts: Iterable[str], settings: Settings) -> Iterator[Path]:
    """Yield the resolved paths that a command may read.

    Each of these counts as a path: a text of fewer than `TEXT_WORDS` words, a word that is the path
    of an existing file or folder, a glob pattern, and each match of a pattern in the project. If a
    path is a folder, the targets of the symbolic links below this folder are also yielded.

    Args:
        texts: the text and the option values of the command.
    """
    for text in filter(str.strip, texts):
        words = [word for word in map(unquote, text.split()) if word not in ("/", "~")]
        named = [unquote(text.strip())] * (len(words) < TEXT_WORDS)
        named += [word for word in words if os.path.exists(at_home(word))]  # noqa: PTH110
        for pattern in filter(glob.has_magic, dict.fromkeys((*named, *words))):
            named.append(pattern)
            # A pattern outside of the project is not expanded: the user is asked to allow the
            # pattern itself.
            if is_free(_place(pattern, settings), settings):
                matches = glob.iglob(pattern, recursive=True)  # noqa: PTH207
                named += itertools.islice(matches, MOST_LINKS)
        places = [_place(one, settings) for one in named]
        yield from places
        searched: set[Path] = set()
        for place in places:
            if not searched.isdisjoint((place, *place.parents)):
                continue  # the links below this place have been yielded
            with contextlib.suppress(Unsearched):
                for folder, folders, files in walk(place, MOST_LINKS):
                    links = (folder / name for name in (*folders, *files))
                    yield from (_place(link, settings) for link in links if link.is_symlink())
                searched.add(place)


def is_free(path: Path, settings: Settings, folders: Iterable[Path] = ()) -> bool:
    """Return True if a model may read a resolved path without permission.

    A model may read `folders`, which are folders of skills, and the project except the private
    files of the harness.
    """
    if any(path.is_relative_to(folder.resolve()) for folder in folders):
        return True
    inside = path.is_relative_to(settings.project_dir.resolve())
    return inside and not is_protected(path, settings.private)


def is_guarded(path: Path, settings: Settings) -> bool:
    """Return True if a resolved path controls git or the harness, or is an AGENTS.md file."""
    names = {part.casefold() for part in path.parts}
    return bool(names & {GIT, INSTRUCTIONS_FILE.casefold()}) or is_protected(
        path, settings.protected
    )


def is_protected(path: Path, protected: Iterable[Path]) -> bool:
    """Return True if `path` is one of the protected files and folders, or below one of them."""
    return any(_is_within(path.resolve(), place.resolve()) for place in protected)


def _is_within(path: Path, place: Path) -> bool:
    """Return True if `path` is `place` or below `place`; the file system may ignore case."""
    if not place.exists():  # `samefile` cannot be used, and the file system may ignore case
        return Path(str(path).casefold()).is_relative_to(str(place).casefold())
    for above in (path, *path.parents):
        with contextlib.suppress(OSError):  # raised if the path does not exist, or is not readable
            if above.samefile(place):
                return True
    return path.is_relative_to(place)
