"""A cache of what the program's own plugins register, so that start-up imports none of them.

It holds the name, summary and triggers of each skill, its SKILL.md, the names of the backends, the
frameworks, and texts made from declarations of the program. A change of any of their files, of the
program or of Python makes it invalid.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness._version import __version__
from harness.agent_skills.skill_md import SkillFile
from harness.errors import OutputError
from harness.plugins.catalogue import Contributions, Found, FoundFramework, SkillSummary
from harness.plugins.importer import IndexedBackend
from harness.support import bounded_files

if TYPE_CHECKING:
    from harness.api.skill import Skill
    from harness.models.backend import Backend
    from harness.models.weights import FileStore

LAYOUT = 3
"""Version of the layout of the cache file."""


class PluginIndex:
    """The cache file of one set of plugin folders.

    Args:
        path: the cache file.
        folders: the folders whose names and modification times are the key.
    """

    def __init__(self, path: Path, folders: list[Path]) -> None:
        self._path = path
        self._key = fingerprint(folders)
        stored = bounded_files.read_json(path)
        valid = isinstance(stored, dict) and stored.get("key") == self._key
        plugins = stored.get("plugins") if valid else None
        self._plugins: dict[str, Any] = plugins if isinstance(plugins, dict) else {}
        texts = stored.get("texts") if valid else None
        self._texts: dict[str, Any] = texts if isinstance(texts, dict) else {}
        self._changed = False

    def get(
        self, name: str, load: Callable[[], object], origin: str, files: FileStore
    ) -> Contributions | None:
        """Return what the plugin registers, without importing it, or None if it is not indexed.

        Args:
            load: imports the plugin when one of its skills or backends is first used.
            files: passed to its backends.
        """
        try:
            return self._stored(name, load, origin, files)
        except (KeyError, TypeError, ValueError, AttributeError):  # the file was changed by hand
            return None

    def _stored(
        self, name: str, load: Callable[[], object], origin: str, files: FileStore
    ) -> Contributions | None:
        stored = self._plugins.get(name)
        if stored is None:
            return None
        file = _skill_file(stored["file"])
        skills = []
        for summary in stored["skills"]:
            known = SkillSummary(summary["name"], summary["summary"], tuple(summary["triggers"]))
            imports = partial(_import_skill, load, known.name)
            problems = file.problems if file else ()
            skills.append(Found(None, origin, problems, file, imports, known))
        frameworks = {n: FoundFramework(Path(p), origin) for n, p in stored["frameworks"].items()}
        backends: list[Backend] = [IndexedBackend(n, load, files) for n in stored["backends"]]
        return Contributions(skills=skills, backends=backends, frameworks=frameworks)

    def put(self, name: str, found: Contributions, file: SkillFile | None) -> None:
        """Index a loaded plugin, unless it registers what cannot be stored."""
        if found.formats or found.listener:
            return
        self._changed = True
        self._plugins[name] = {
            "file": file and {**asdict(file), "path": str(file.path)},
            "skills": [
                asdict(SkillSummary(f.name, f.summary, tuple(f.triggers))) for f in found.skills
            ],
            "backends": [backend.name for backend in found.backends],
            "frameworks": {name: str(one.path) for name, one in found.frameworks.items()},
        }

    def text(self, name: str, make: Callable[[], str]) -> str:
        """Return the text that is stored under a name, or make and store it."""
        if not isinstance(text := self._texts.get(name), str):
            text = self._texts[name] = make()
            self._changed = True
            self.save()
        return text

    def save(self) -> None:
        """Write the cache file if it changed; a file that cannot be written is ignored."""
        if self._changed:
            with contextlib.suppress(OutputError):
                content = {"key": self._key, "plugins": self._plugins, "texts": self._texts}
                bounded_files.write_json(self._path, content, "the plugin index")


def fingerprint(folders: list[Path]) -> str:
    """Return the SHA-256 of names, sizes and times of change of all Python and Markdown files."""
    digest = hashlib.sha256(repr((LAYOUT, __version__, sys.version)).encode())
    for root in folders:
        for folder, children, names in os.walk(root):
            children[:] = sorted(name for name in children if name != "__pycache__")
            for name in sorted(names):
                if name.endswith((".py", ".md")):
                    path = os.path.join(folder, name)  # noqa: PTH118  faster than Path
                    stat = os.stat(path)  # noqa: PTH116
                    times = f"{stat.st_mtime_ns}\0{stat.st_ctime_ns}"  # the latter cannot be set
                    digest.update(f"{path}\0{stat.st_size}\0{times}\0".encode())
    return digest.hexdigest()


def _skill_file(stored: Mapping[str, Any] | None) -> SkillFile | None:
    if stored is None:
        return None
    values = {"path": Path(stored["path"]), "problems": tuple(stored["problems"])}
    return SkillFile(**{**stored, **values})


def _import_skill(load: Callable[[], Any], name: str) -> Skill:
    """Import a plugin and return one of its skills."""
    skills: list[Skill] = []
    load().register_skills(skills.append)
    return next(skill for skill in skills if skill.name == name)
