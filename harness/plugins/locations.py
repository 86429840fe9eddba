"""Locate plugins: folders with a SKILL.md, and installed packages.

Folders are searched within limits and a deadline.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.agent_skills.skill_file import FILE, SkillFile
from harness.errors import UsageError
from harness.plugins.catalogue import BUILT_IN
from harness.support.bounded_files import Unsearched, walk
from harness.support.calls import Overdue, within

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from harness.settings import Settings

Owner = Literal["program", "project", "user"]
ENTRY_POINTS = "harness.skills"
"""The group of entry points that are plugins."""

DEPTH = 6
"""Maximum number of levels below a skills folder at which a SKILL.md is found."""
ENTRIES = 20_000
"""Maximum number of files and folders that are searched below a skills folder."""
MANY_FOLDERS = 2_000
"""Number of searched folders above which a remark states that the search is slow."""
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "site-packages"}


def owner(origin: str, settings: Settings) -> Owner:
    """Return the owner of a skill with this origin; installed packages belong to the user."""
    if origin == BUILT_IN:
        return "program"
    folder = Path(origin)
    if any(folder.is_relative_to(place) for place in settings.user_folders):
        return "user"
    project = any(folder.is_relative_to(place) for place in settings.skill_folders)
    return "project" if project else "user"


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, sorted by name and value.

    importlib.metadata is imported only if a distribution declares the group, since the import takes
    30 ms.
    """
    if not any(_declares(folder, f"[{group}]".encode()) for folder in sys.path):
        return []
    import importlib.metadata

    found = importlib.metadata.entry_points(group=group)
    return sorted(found, key=lambda point: (point.name, point.value))


def _declares(folder: str, header: bytes) -> bool:
    """Return True if a distribution in `folder` has entry points in the section `header`."""
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                with contextlib.suppress(OSError):
                    if header in (Path(entry.path) / "entry_points.txt").read_bytes():
                        return True
    return False


def distribution(point: EntryPoint) -> str:
    """Return the name and version of the distribution that declares an entry point.

    If the distribution is unknown or its metadata is damaged, the result is the value of the entry
    point.
    """
    try:
        return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    except Exception:  # noqa: BLE001 damaged metadata may raise any exception
        return point.value


def beside(module: str) -> Path | None:
    """Return the path of the SKILL.md beside an imported module, or None without a SKILL.md.

    The result is also None for a module that is not part of a package.
    """
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if not isinstance(file, str) or not getattr(loaded, "__package__", ""):
        return None
    path = Path(file).parent / FILE
    return path if path.is_file() else None


class Search(NamedTuple):
    """The SKILL.md files below a folder.

    Attributes:
        found: the path of each SKILL.md, with the parsed file, the error, or None if the file was
            not read.
        cut: the reason why the search is incomplete, or "" if the search is complete.
        folders: the number of searched folders.
    """

    found: list[tuple[Path, SkillFile | UsageError | None]]
    cut: str
    folders: int


def skill_files(
    root: Path, seconds: float, skipped: Callable[[Path], bool] = lambda _: False
) -> Search:
    """Read and return every SKILL.md below `root`, sorted by path.

    Hidden folders, `SKIPPED_FOLDERS` and the subfolders of a folder with a SKILL.md are not
    searched. A file whose name differs only in case, such as skill.md, counts as a SKILL.md. The
    search ends after `seconds`, even if a file system does not answer; the result contains the
    files found before.

    Args:
        skipped: returns True for a folder whose SKILL.md must not be read.
    """
    found: list[tuple[Path, SkillFile | UsageError | None]] = []
    searched: set[tuple[int, int]] = set()

    def search() -> None:
        for path in _paths(root, time.monotonic() + seconds, searched):
            file: SkillFile | UsageError | None = None
            if not skipped(path.parent):
                from harness.agent_skills import skill_md

                try:
                    file = skill_md.read(path)
                except UsageError as exc:
                    file = exc
            found.append((path, file))

    cut = ""
    try:
        within(seconds, search, f"searching {root}")
    except Overdue:
        cut = f"it was not searched further after {seconds:g} s"
    except Unsearched as exc:
        cut = f"it was not searched further: {exc}"
    return Search([*found], cut, len(searched))  # a copy, since an overdue search continues


def _paths(root: Path, until: float, searched: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the path of each SKILL.md below `root`, in sorted order.

    Each folder is searched only once, even if several links lead to it.

    Args:
        until: the time, from `time.monotonic`, at which the search ends.
        searched: receives the device and inode numbers of the searched folders.

    Raises:
        Unsearched: there are too many files and folders, or the search takes too long.
    """
    for folder, children, names in walk(root, ENTRIES, until=until, follow_links=True):
        place = None
        with contextlib.suppress(OSError):  # raised if the folder was removed in the meantime
            status = folder.stat()
            place = status.st_dev, status.st_ino
        if place is None or place in searched:
            children.clear()
            continue
        searched.add(place)
        depth = len(folder.relative_to(root).parts)
        files = [name for name in names if name.upper() == FILE.upper()]
        if files and depth:
            # the names are sorted, so that SKILL.md precedes a name in lower case
            yield folder / files[0]
            children.clear()
        elif depth >= DEPTH:
            children.clear()
        children[:] = [c for c in children if c not in SKIPPED_FOLDERS and not c.startswith(".")]
