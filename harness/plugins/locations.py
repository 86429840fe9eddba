"""Where the files of skills lie: in folders that are searched, and beside the code of packages."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.agent_skills import skill_md

DEPTH = 3
"""How deep below a skills folder a SKILL.md is looked for."""
FOLDERS = 2000
"""How many folders are looked into below one: links may lead anywhere."""
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "site-packages"}


def distribution(point: importlib.metadata.EntryPoint) -> str:
    """Where an entry point comes from; what is installed may be damaged."""
    try:
        return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    except Exception:  # noqa: BLE001  there is no telling what a damaged one raises
        return point.value


def beside(module: str) -> Path | None:
    """The SKILL.md in the folder of an imported module, unless that is no folder of its own."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if not isinstance(file, str) or not getattr(loaded, "__package__", ""):
        return None
    path = Path(file).parent / skill_md.FILE
    return path if path.is_file() else None


def skill_files(root: Path) -> Iterator[Path]:
    """Every SKILL.md below `root`, sorted; a skill's own folder is not searched for others.

    A file of that name in other letters counts, for the reader to say so.
    """
    for count, (folder, children, names) in enumerate(os.walk(root, followlinks=True)):
        if count >= FOLDERS:
            return
        children.sort()
        depth = len(Path(folder).relative_to(root).parts)
        files = sorted(name for name in names if name.upper() == skill_md.FILE.upper())
        if files and depth:
            yield Path(folder) / files[0]  # SKILL.md itself sorts first
            children.clear()
        elif depth >= DEPTH:
            children.clear()
        children[:] = [c for c in children if c not in SKIPPED_FOLDERS and not c.startswith(".")]
