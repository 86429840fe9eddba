"""Finding skills and backends.

Three sources, in this order; the first to bring a name keeps it:

    built in      the framework's own commands and backends, and skills/ beside the code
    entry points  of the group "harness.skills", by name
    folders       with a SKILL.md under ./skills, ./.agents/skills and the user's config folder

A folder with a plugin.py is a pluggy plugin, one without is a prompt skill. Those that ship are
packages, which tells them from what a user puts beside them in a checkout.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from harness import skill_md
from harness.errors import UsageError
from harness.files import FileStore
from harness.folder_import import forget, import_file, import_folder
from harness.hookspecs import RegisterSkill, hookimpl
from harness.plugins import Catalogue, PluginHost, duplicate
from harness.prompt_skill import PromptSkill
from harness.settings import Settings
from harness.trust import TrustStore

ENTRY_POINTS = "harness.skills"
DEPTH = 3
"""How deep below a skills folder a SKILL.md is looked for."""
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "site-packages"}


class Discovery:
    """Loads plugins into a `Catalogue`.

    Args:
        builtins: plugin objects of the framework itself, by name.
        files: handed to plugins that bring backends.
    """

    def __init__(
        self, settings: Settings, files: FileStore, builtins: Mapping[str, object]
    ) -> None:
        self._settings = settings
        self._builtins = builtins
        self._trust = TrustStore(settings.trust_file)
        self._host = PluginHost(files, strict=settings.strict_plugins)

    @property
    def catalogue(self) -> Catalogue:
        return self._host.catalogue

    def run(self) -> Catalogue:
        """Find and load everything there is."""
        for name, plugin in self._builtins.items():
            self._host.load(name, "built in", partial(_same, plugin))
        for plugin_file in sorted(self._settings.shipped_skills.glob("*/plugin.py")):
            folder = plugin_file.parent
            if not _is_package(folder):
                continue
            module = f"skills.{folder.name}.plugin"
            self._host.load(folder.name, "built in", partial(self._import_shipped, module))
        for point in sorted(
            importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda p: (p.name, p.value)
        ):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            self._host.load(point.name, origin, point.load)
        for root in self._settings.skill_folders:
            for path in _skill_files(root):
                self._load_folder(path, root)
        for name in self.catalogue.untrusted.keys() & self.catalogue.skills.keys():
            origin = str(self.catalogue.untrusted.pop(name).folder)
            self._host.fail(name, origin, duplicate(name, self.catalogue.skills[name].origin))
        return self.catalogue

    def forget(self) -> None:
        """Have the next discovery import anew what lies in folders or is installed with pip."""
        points = importlib.metadata.entry_points(group=ENTRY_POINTS)
        packages = {point.module.partition(".")[0] for point in points}
        forget(self._settings.skill_folders, packages)

    def trust(self, name: str) -> None:
        """Trust the project's plugin `name` as it is now, and load it.

        Raises:
            UsageError: it cannot be loaded.
        """
        file = self.catalogue.untrusted[name]
        if (taken := self.catalogue.skills.get(name)) is not None:
            raise duplicate(name, taken.origin)
        self._trust.trust(file.folder)
        del self.catalogue.untrusted[name]
        before = len(self.catalogue.failures)
        self._load_plugin_folder(file)
        if len(self.catalogue.failures) > before:
            failure = self.catalogue.failures[-1]
            raise UsageError(f"{name} cannot be loaded: {failure.reason}", where=failure.origin)

    def _load_folder(self, path: Path, root: Path) -> None:
        folder = path.parent
        is_plugin = (folder / "plugin.py").is_file()
        beside_shipped = folder.resolve().parent == self._settings.shipped_skills.resolve()
        if is_plugin and beside_shipped and _is_package(folder):
            return
        try:
            file = skill_md.read(path)
        except UsageError as exc:
            self._host.fail(folder.name, str(folder), exc)
            return
        if not is_plugin:
            plugin = partial(_PromptPlugin, file)
            self._host.load(file.name, str(folder), plugin, file.problems)
        elif root == self._settings.own_skills or self._trust.trusts(folder):
            self._load_plugin_folder(file)
        elif (origin := self._origin(file.name)) is not None:
            self._host.fail(file.name, str(folder), duplicate(file.name, origin))
        else:
            self.catalogue.untrusted[file.name] = file

    def _origin(self, name: str) -> str | None:
        """Who has the name already, loaded or waiting for trust."""
        if (found := self.catalogue.skills.get(name)) is not None:
            return found.origin
        waiting = self.catalogue.untrusted.get(name)
        return None if waiting is None else str(waiting.folder)

    def _load_plugin_folder(self, file: skill_md.SkillFile) -> None:
        origin = str(file.folder)
        self._host.load(file.name, origin, partial(import_folder, file.folder), file.problems)

    def _import_shipped(self, module: str) -> ModuleType:
        """Import from skills/ beside the code, whatever folder named skills Python finds first."""
        if "skills" not in sys.modules:
            root = self._settings.shipped_skills
            import_file("skills", root / "__init__.py", root)
        return importlib.import_module(module)


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _same(plugin: object) -> object:
    return plugin


class _PromptPlugin:
    """A SKILL.md alone, as the plugin that it is treated like."""

    def __init__(self, file: skill_md.SkillFile) -> None:
        self._file = file

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        register(PromptSkill(self._file))


def _skill_files(root: Path) -> Iterator[Path]:
    """Every SKILL.md below `root`, sorted; a skill's own folder is not searched for others."""
    for folder, children, names in os.walk(root, followlinks=True):
        children.sort()
        depth = len(Path(folder).relative_to(root).parts)
        if "SKILL.md" in names and depth:
            yield Path(folder) / "SKILL.md"
            children.clear()
        elif depth >= DEPTH:
            children.clear()
        children[:] = [c for c in children if c not in SKIPPED_FOLDERS and not c.startswith(".")]
