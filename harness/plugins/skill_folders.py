"""Searching a folder of skills and reading each SKILL.md, within limits and a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.agent_skills import skill_md
from harness.agent_skills.skill_md import SkillFile
from harness.errors import UsageError
from harness.support.reading.bounded_files import Unsearched, walk
from harness.support.stopping.timeouts import Overdue, Raised, within

DEPTH = 3
"""Maximum depth below a skills folder at which a SKILL.md is found."""
ENTRIES = 20_000
"""Maximum number of files and folders searched below a skills folder."""
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "site-packages"}


def skill_files(
    root: Path, seconds: float, skipped: Callable[[Path], bool] = lambda _: False
) -> tuple[list[tuple[Path, SkillFile | UsageError | None]], str]:
    """Read every SKILL.md below `root`, sorted; folders of skills are not searched further.

    A file whose name differs only in case is read too, which reports the wrong name. A file system
    that does not answer costs `seconds`; what was found until then is returned.

    Args:
        skipped: returns True for a folder whose SKILL.md is not to be read; it is None in the
            result.

    Returns: each path with its SKILL.md or the error, and why the search is incomplete, or "".
    """
    found: list[tuple[Path, SkillFile | UsageError | None]] = []

    def search() -> None:
        for path in _paths(root, time.monotonic() + seconds):
            found.append((path, None if skipped(path.parent) else _read(path)))

    try:
        within(seconds, search, f"searching {root}")
    except Overdue:
        return [*found], f"it was not searched further after {seconds:g} s"
    except Raised as exc:
        if not isinstance(exc.__cause__, Unsearched):
            raise exc.__cause__ or exc from None
        return found, f"it was not searched further: {exc.__cause__}"
    return found, ""


def _read(path: Path) -> SkillFile | UsageError:
    try:
        return skill_md.read(path)
    except UsageError as exc:
        return exc


def _paths(root: Path, until: float) -> Iterator[Path]:
    for folder, children, names in walk(root, ENTRIES, until=until, follow_links=True):
        depth = len(folder.relative_to(root).parts)
        files = [name for name in names if name.upper() == skill_md.FILE.upper()]
        if files and depth:
            yield folder / files[0]  # SKILL.md itself sorts first
            children.clear()
        elif depth >= DEPTH:
            children.clear()
        children[:] = [c for c in children if c not in SKIPPED_FOLDERS and not c.startswith(".")]
