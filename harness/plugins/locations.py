"""Where plugins come from: folders of a project or of the user, and installed packages."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.agent_skills import skill_md
from harness.plugins.catalogue import BUILT_IN

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from harness.settings import Settings

Owner = Literal["program", "project", "user"]


def owner(origin: str, settings: Settings) -> Owner:
    """Return whose a skill of this origin is; installed packages are the user's."""
    if origin == BUILT_IN:
        return "program"
    folder = Path(origin)
    if any(folder.is_relative_to(place) for place in settings.user_folders):
        return "user"
    project = any(folder.is_relative_to(place) for place in settings.skill_folders)
    return "project" if project else "user"


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, sorted.

    importlib.metadata takes 30 ms, so it is imported only if a distribution declares the group.
    """
    if not any(_declares(folder, f"[{group}]".encode()) for folder in sys.path):
        return []
    import importlib.metadata

    found = importlib.metadata.entry_points(group=group)
    return sorted(found, key=lambda point: (point.name, point.value))


def _declares(folder: str, header: bytes) -> bool:
    """Return True if an installed distribution in `folder` has this section of entry points."""
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                with contextlib.suppress(OSError):
                    if header in (Path(entry.path) / "entry_points.txt").read_bytes():
                        return True
    return False


def distribution(point: EntryPoint) -> str:
    """Return the name and version of the distribution that declares an entry point."""
    try:
        return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    except Exception:  # noqa: BLE001  the metadata may be damaged in any way
        return point.value


def beside(module: str) -> Path | None:
    """Return the SKILL.md in the folder of an imported package, if there is one."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if not isinstance(file, str) or not getattr(loaded, "__package__", ""):
        return None
    path = Path(file).parent / skill_md.FILE
    return path if path.is_file() else None
