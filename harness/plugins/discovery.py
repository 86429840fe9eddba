"""Finding skills and backends.

Three sources, in this order; the first to bring a name keeps it:

    built in      the framework's own commands and backends, and skills/ beside the code
    entry points  of the group "harness.skills", by name
    folders       with a SKILL.md under ./skills, ./.agents/skills and the user's config folder

A folder with a plugin.py is a pluggy plugin, one without is a prompt skill. The SKILL.md of what
ships is read strictly, all others leniently: most are strangers', wherever a user keeps them. The
code of a project waits for trust. What ships is packages, which tells it from what a user puts
beside it in a checkout. A disabled name is passed over before anything of it is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

from harness.agent_skills import skill_md
from harness.agent_skills.prompt_skill import PromptSkill
from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.errors import UsageError
from harness.models.weights import FileStore
from harness.plugins.catalogue import Catalogue, duplicate
from harness.plugins.disabled import DisabledNames
from harness.plugins.importer import forget, import_file, import_folder
from harness.plugins.loader import PluginHost
from harness.plugins.locations import beside, distribution, skill_files
from harness.plugins.trust import TrustStore
from harness.settings import Settings

ENTRY_POINTS = "harness.skills"


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
        self.disabled = DisabledNames(settings.disabled_file)
        self._off = self.disabled.read()
        self._host = PluginHost(
            files,
            deadline=settings.plugin_deadline,
            strict=settings.strict_plugins,
        )

    @property
    def catalogue(self) -> Catalogue:
        return self._host.catalogue

    def run(self, *, bare: bool = False) -> Catalogue:
        """Find and load everything there is.

        Args:
            bare: load the framework's own plugins alone.
        """
        for name, plugin in self._builtins.items():
            self._host.load(name, "built in", partial(_same, plugin), ours=True)
        self.catalogue.framework = frozenset(self.catalogue.skills)
        self._host.disabled = self._off - self.catalogue.framework
        if not bare:
            self._load_shipped()
            self._load_entry_points()
            for root in self._settings.skill_folders:
                for path in skill_files(root):
                    self._load_folder(path, root)
            self._drop_waiting_duplicates()
        for name in self._off - self.catalogue.framework:
            self.catalogue.disabled.setdefault(name, "")
        return self.catalogue

    def _is_off(self, origin: str, *names: str) -> bool:
        """Whether the user has disabled one of the names, which is noted."""
        off = [name for name in names if name in self._off]
        for name in off:
            self.catalogue.disabled.setdefault(name, origin)
        return bool(off)

    def _shipped(self) -> list[Path]:
        """The folders of the plugins that ship."""
        files = self._settings.shipped_skills.glob("*/plugin.py")
        return sorted(file.parent for file in files if _is_package(file.parent))

    def _load_shipped(self) -> None:
        for folder in self._shipped():
            name = folder.name
            if self._is_off("built in", name):
                continue
            path = folder / skill_md.FILE
            try:  # a plugin that brings no skill needs none
                file = skill_md.read(path, strict=True) if path.exists() else None
            except UsageError as exc:
                self._host.fail(name, "built in", exc, traced=False)
                continue
            load = partial(self._import_shipped, f"skills.{name}.plugin")
            self._host.load(name, "built in", load, file, ours=True)

    def _load_entry_points(self) -> None:
        for point in sorted(
            importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda p: (p.name, p.value)
        ):
            origin = distribution(point)
            if not self._is_off(origin, point.name):
                before = set(self.catalogue.skills)
                self._host.load(point.name, origin, point.load)
                self._describe(point.module, set(self.catalogue.skills) - before)

    def _describe(self, module: str, names: set[str]) -> None:
        """Give the skills of a package the SKILL.md beside its code, read like all of others."""
        if not names or (path := beside(module)) is None:
            return
        file: skill_md.SkillFile | None = None
        try:
            file = skill_md.read(path, instructs=False)
            problems = file.problems
        except UsageError as exc:
            problems = (str(exc),)
        for name in names:
            found = self.catalogue.skills[name]
            self.catalogue.skills[name] = replace(found, file=file, problems=problems)

    def _drop_waiting_duplicates(self) -> None:
        """A name that waits for trust may have been taken by a source that comes later."""
        for name in self.catalogue.untrusted.keys() & self.catalogue.skills.keys():
            origin = str(self.catalogue.untrusted.pop(name).folder)
            self._host.fail(name, origin, duplicate(name, self.catalogue.skills[name].origin))

    def names(self) -> frozenset[str]:
        """The names that plugins and skills have, as far as can be told without importing any."""
        found = {*self.catalogue.skills, *self.catalogue.untrusted}
        found |= {folder.name for folder in self._shipped()}
        found |= {point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
        for root in self._settings.skill_folders:
            for path in skill_files(root):
                found.add(path.parent.name)
                with contextlib.suppress(UsageError):
                    found.add(skill_md.read(path).name)
        return frozenset(found)

    def forget(self) -> dict[str, ModuleType]:
        """Have the next discovery import anew what lies in folders or is installed with pip.

        Returns:
            What `sys.modules` needs again where that discovery is not finished.
        """
        points = importlib.metadata.entry_points(group=ENTRY_POINTS)
        packages = {point.module.partition(".")[0] for point in points}
        return forget(self._settings.skill_folders, packages)

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
        origin = str(folder)
        is_plugin = (folder / "plugin.py").is_file()
        beside_shipped = folder.resolve().parent == self._settings.shipped_skills.resolve()
        if is_plugin and beside_shipped and _is_package(folder):
            return
        if self._is_off(origin, folder.name):
            return
        try:
            file = skill_md.read(path)
        except UsageError as exc:
            self._host.fail(folder.name, origin, exc, traced=False)
            return
        if self._is_off(origin, file.name):
            return
        if not is_plugin:
            self._host.load(file.name, origin, partial(_PromptPlugin, file), file, ours=True)
        elif root == self._settings.own_skills or self._trust.trusts(folder):
            self._load_plugin_folder(file)
        elif (taken := self._origin(file.name)) is not None:
            self._host.fail(file.name, origin, duplicate(file.name, taken))
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
        self._host.load(file.name, origin, partial(import_folder, file.folder), file)

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
