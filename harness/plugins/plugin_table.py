"""Plugins and backends that are imported on first use, and the table of these plugins.

For each of these plugins, the table contains the SKILL.md, the names, summaries and triggers of the
skills, the names of the backends, and the frameworks. The table also contains the options of
`agent.py --help`. `make docs` writes the table after a change of a plugin, and `make check` reports
an outdated table.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.agent_skills.skill_file import SkillFile
from harness.models.backend import Availability
from harness.plugins.catalogue import BUILT_IN, Contributions, Found, FoundFramework, SkillSummary
from harness.settings import CODE_ROOT

if TYPE_CHECKING:
    from importlib.abc import Loader

    from harness.api.skill import Skill
    from harness.models.backend import Backend, Model
    from harness.models.registry import ServeEntry
    from harness.models.weights import FileStore

PATH = Path(__file__).with_name("plugin_table.json")
OLLAMA = ("127.0.0.1", 11434)
"""The default address of Ollama; a serve entry or OLLAMA_HOST may contain another address."""
CONNECT_SECONDS = 1.0
Load = Callable[[], Any]


def read() -> dict[str, Any]:
    """Return the table, with the keys "plugins" and "options"."""
    table: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return table


def text_of(plugins: Mapping[str, Any], options: str) -> str:
    """Return the content of the table's file, for docs/generate.py."""
    return json.dumps({"plugins": plugins, "options": options}, indent=1, ensure_ascii=False) + "\n"


def row_of(found: Contributions, file: SkillFile | None) -> dict[str, Any]:
    """Return the row of a plugin in the table; paths are relative to `CODE_ROOT`.

    Args:
        found: the contributions of the imported plugin.
        file: the SKILL.md of the plugin, or None.
    """
    return {
        "file": file and {**asdict(file), "path": _relative(file.path)},
        "skills": [asdict(SkillSummary(f.name, f.summary, f.triggers)) for f in found.skills],
        "backends": [backend.name for backend in found.backends],
        "frameworks": {name: _relative(one.path) for name, one in found.frameworks.items()},
    }


def contributions(row: Mapping[str, Any], load: Load, files: FileStore) -> Contributions:
    """Return the contributions of a plugin, without importing the plugin.

    Args:
        row: the row of the plugin in the table.
        load: imports the plugin when one of its skills or backends is first used.
        files: the store of model files, which the plugin's backends receive.
    """
    file = row["file"] and SkillFile(**{**row["file"], "path": CODE_ROOT / row["file"]["path"]})
    known = [SkillSummary(**{**one, "triggers": tuple(one["triggers"])}) for one in row["skills"]]
    skills = [
        Found(None, BUILT_IN, file=file, load=partial(_import_skill, load, one.name), indexed=one)
        for one in known
    ]
    backends: list[Backend] = [
        LazyBackend(name, partial(_import_backend, load, name, files)) for name in row["backends"]
    ]
    frameworks = {
        name: FoundFramework(CODE_ROOT / path, BUILT_IN) for name, path in row["frameworks"].items()
    }
    return Contributions(skills, backends, frameworks)


def _relative(path: Path) -> str:
    return path.relative_to(CODE_ROOT).as_posix()


def _import_skill(load: Load, name: str) -> Skill:
    """Import a plugin, and return its skill with this name."""
    skills: list[Skill] = []
    load().register_skills(skills.append)
    return next(skill for skill in skills if skill.name == name)


def _import_backend(load: Load, name: str, files: FileStore) -> Backend:
    """Import a plugin, and return its backend with this name."""
    found: list[Backend] = []
    load().register_backends(found.append, files)
    return next(backend for backend in found if backend.name == name)


@dataclass
class LazyBackend:
    """A backend that is imported on first use.

    Attributes:
        make: imports and returns the backend.
        refuse: returns a negative `Availability` for a serve entry, or None if the imported backend
            must determine the availability.
    """

    name: str
    make: Callable[[], Backend]
    refuse: Callable[[ServeEntry], Availability | None] = lambda _: None

    @cached_property
    def imported(self) -> Backend:
        return self.make()

    def _serving(self, entry: ServeEntry) -> Backend:
        if not entry.urls:
            return self.imported
        from harness.models.backends.server_group import BalancedBackend

        return BalancedBackend(self.imported)

    def probe(self, entry: ServeEntry) -> Availability:
        return self.refuse(entry) or self._serving(entry).probe(entry)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        return self._serving(entry).load(entry, slots)


def own_backends(files: FileStore) -> list[Backend]:
    """Return the backends of the harness, each of which is imported on first use.

    Args:
        files: the store of model files, which two of the backends receive.
    """

    def llamacpp() -> Backend:
        from harness.models.backends.llamacpp import LlamaCppBackend

        return LlamaCppBackend(files)

    def ollama() -> Backend:
        from harness.models.backends.ollama import OllamaBackend

        return OllamaBackend(files)

    def openai() -> Backend:
        from harness.models.backends.openai import OpenAIBackend

        return OpenAIBackend()

    return [
        LazyBackend("llamacpp", llamacpp),
        LazyBackend("ollama", ollama, without_ollama),
        LazyBackend("openai", openai),
    ]


def without_ollama(entry: ServeEntry) -> Availability | None:
    """Return a negative `Availability` if Ollama's port is closed; None if a server may answer.

    The port is checked before the backend is imported, since most machines have no Ollama, and
    importing the client takes longer than annotating six abstracts with a reader.
    """
    if entry.addresses or os.environ.get("OLLAMA_HOST"):
        return None
    try:
        socket.create_connection(OLLAMA, CONNECT_SECONDS).close()
    except OSError:
        host, port = OLLAMA
        reason = f"no Ollama server at http://{host}:{port}"
        return Availability(False, reason, absent=not entry.digest)
    return None


def import_file(name: str, path: Path, folder: Path, loader: Loader | None = None) -> ModuleType:
    """Import `path` as the package `name`, whose modules are in `folder`; return the package."""
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def import_shipped(root: Path, name: str) -> ModuleType:
    """Import and return the module `skills.NAME.plugin` of a shipped plugin.

    Args:
        root: the folder that is imported as the package `skills`, even if `sys.path` has another
            package of this name.
    """
    if "skills" not in sys.modules:
        import_file("skills", root / "__init__.py", root)
    return importlib.import_module(f"skills.{name}.plugin")


def is_package(folder: Path) -> bool:
    """Return True if a folder is a package, as the folder of every shipped plugin is."""
    return (folder / "__init__.py").is_file()
