"""Find and import skills and backends, and load them into a catalogue.

Three sources are searched in the order below. The first plugin that registers a name keeps
the name. A later folder with the same name is recorded as shadowed, not as a failure.

    built in      the harness's own commands and backends, and the shipped plugins in skills/
    entry points  of the group "harness.skills", sorted by name
    folders       with a SKILL.md under ./skills, .agents/skills of the working folder and its
                  parents up to the root of the git repository, skills/ of the user's config folder,
                  ~/.agents/skills

A folder with a plugin.py is a pluggy plugin; a folder without a plugin.py is a prompt skill. If a
SKILL.md deviates from the specification, a shipped skill is refused. Any other skill is loaded if
the deviation can be tolerated, and `Found.problems` lists the deviations. The plugin of a folder is
loaded only after the user has trusted the folder. Plugins that the user has written in skills/ of
the config folder need no trust. The folder of a shipped plugin is a package with an `__init__.py`;
the folder of a user's plugin needs no `__init__.py`. Most shipped plugins are imported on first use
(`harness.plugins.plugin_table`). A plugin with a disabled name is skipped before its code is
imported.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.agent_skills.skill_file import FILE, SkillFile
from harness.errors import UsageError
from harness.models.weights import FileStore
from harness.plugins import plugin_table
from harness.plugins.catalogue import BUILT_IN, Catalogue, Contributions, Found, Shadowed, duplicate
from harness.plugins.locations import (
    ENTRY_POINTS,
    MANY_FOLDERS,
    beside,
    distribution,
    entry_points,
    skill_files,
)
from harness.plugins.plugin_table import contributions, import_shipped, is_package, own_backends
from harness.plugins.user_choices import ChoicesFile, DisabledNames
from harness.settings import CODE_ROOT, Settings

if TYPE_CHECKING:
    from harness.plugins.loader import PluginHost
    from harness.plugins.trust import InstalledSkills, TrustStore

SHIPPED = CODE_ROOT / "skills"
COMMANDS = "commands"
"""The name of the plugin with the harness's own commands."""


class Discovery:
    """Loads plugins into a `Catalogue`.

    Args:
        files: the store of model files, which is passed to plugins that register backends.
        commands: a function that imports and returns the plugin of the built-in commands.
        builtins: additional plugin objects, by name.
        use: a function that runs a `PromptSkill` with a `Call`.

    Attributes:
        disabled: the file with the names that the user has disabled.
    """

    def __init__(
        self,
        settings: Settings,
        files: FileStore,
        commands: Callable[[], object],
        builtins: Mapping[str, object],
        use: Callable[..., Any],
    ) -> None:
        self._settings = settings
        self._commands = commands
        self._builtins = builtins
        self._use = use
        self.disabled = DisabledNames(settings.disabled_file)
        self._disabled_names = self.disabled.read()
        self.catalogue = Catalogue(strict=settings.strict_plugins)
        self.files = files
        plugins = (file.parent for file in settings.shipped_skills.glob("*/plugin.py"))
        self._shipped = sorted(folder.name for folder in plugins if is_package(folder))

    @cached_property
    def _host(self) -> PluginHost:
        from harness.plugins.loader import PluginHost

        return PluginHost(self.catalogue, self.files, self._settings.plugin_deadline)

    @cached_property
    def _trust(self) -> TrustStore:
        from harness.plugins.trust import TrustStore

        return TrustStore(self._settings.trust_file)

    @cached_property
    def _installed(self) -> InstalledSkills:
        from harness.plugins.trust import InstalledSkills

        return InstalledSkills(self._settings.skills_lock)

    def run(self, *, bare: bool = False) -> Catalogue:
        """Find and load all plugins, and return the catalogue.

        Args:
            bare: True to load only the harness's own commands and backends, and `builtins`.
        """
        table = plugin_table.read()["plugins"]
        self._load_own(COMMANDS, table)
        self.catalogue.add(Contributions(backends=own_backends(self.files)))
        for name in self._builtins:
            self._host.load(name, BUILT_IN, partial(self._builtins.__getitem__, name), ours=True)
        self.catalogue.framework = frozenset(self.catalogue.skills)
        disabled = self.catalogue.skipped = self._disabled_names - self.catalogue.framework
        if not bare:
            shipped_table = table if self._settings.shipped_skills == SHIPPED else {}
            for name in self._shipped:
                if not self._is_disabled(BUILT_IN, name):
                    self._load_own(name, shipped_table)
            self._load_entry_points()
            for root in self._settings.skill_folders:
                self._load_skills_of(root)
            for name in self.catalogue.untrusted.keys() & self.catalogue.skills.keys():
                # A skill that was found later has registered the name.
                self._shadow(self.catalogue.untrusted.pop(name), self.catalogue.skills[name].origin)
        for name in disabled:
            self.catalogue.disabled.setdefault(name, "")
        files: list[ChoicesFile] = []
        lock = self._settings.skills_lock
        # The module `trust` is imported only if one of its files exists; installed.json is the
        # earlier name of skills.lock.
        if not _are_missing(self._settings.trust_file):
            files.append(self._trust)
        files.append(self.disabled)
        if not _are_missing(lock, lock.with_name("installed.json")):
            files.append(self._installed)
        self.catalogue.remarks += filter(None, (file.damage() for file in files))
        return self.catalogue

    def described(self) -> dict[str, Any]:
        """Import the program's own plugins, and return their rows in the plugin table, by name.

        A plugin with formats, or with hooks for runs or tools, has no row, and is therefore
        imported at every start.

        Raises:
            Exception: a plugin cannot be loaded.
        """
        from harness.plugins.loader import PluginHost

        host = PluginHost(Catalogue(strict=True), self.files, self._settings.plugin_deadline)
        rows = {}
        for name in (COMMANDS, *self._shipped):
            file = self._shipped_file(name)
            found = host.load(name, BUILT_IN, self._loader(name), file, ours=True)
            if found is not None and not found.formats and found.listener is None:
                rows[name] = plugin_table.row_of(found, file)
        return rows

    def names(self) -> frozenset[str]:
        """Return the names of plugins and skills that are known without importing a plugin."""
        found = {*self.catalogue.skills, *self.catalogue.untrusted, *self._shipped}
        found |= {point.name for point in entry_points(ENTRY_POINTS)}
        for root in self._settings.skill_folders:
            for path, file in skill_files(root, self._settings.folder_deadline).found:
                found.add(path.parent.name)
                if isinstance(file, SkillFile):
                    found.add(file.name)
        return frozenset(found)

    def forget(self) -> None:
        """Make the next discovery import the plugins of folders and installed packages again."""
        from harness.plugins.loader import forget
        from harness.plugins.trust import private_folder

        points = entry_points(ENTRY_POINTS)
        packages = {point.module.partition(".")[0] for point in points}
        forget([*self._settings.skill_folders, private_folder()], packages)

    def trust(self, name: str, shown: str = "") -> None:
        """Trust the plugin `name` with its current content, and load the plugin.

        Args:
            name: the name of a plugin in `Catalogue.untrusted`.
            shown: the hash of the content that the user has seen, or "" to trust any content.

        Raises:
            UsageError: the plugin cannot be trusted or loaded.
            OutputError: the trust cannot be stored.
        """
        file = self.catalogue.untrusted[name]
        if (taken := self.catalogue.skills.get(name)) is not None:
            raise duplicate(name, taken.origin)
        self._trust.trust(file.folder, shown)
        if (copy := self._trust.trusted(file.folder)) is None:
            raise UsageError(f"{name} was changed meanwhile", where=str(file.folder))
        del self.catalogue.untrusted[name]
        if self._load_plugin_folder(file, copy) is None:
            failure = self.catalogue.failures[-1]
            raise UsageError(f"{name} cannot be loaded: {failure.reason}", where=failure.origin)

    def _is_disabled(self, origin: str, *names: str) -> bool:
        """Record the disabled names among `names`, and return True if there is a disabled name."""
        off = [name for name in names if name in self._disabled_names]
        for name in off:
            self.catalogue.disabled.setdefault(name, origin)
        return bool(off)

    def _load_own(self, name: str, table: Mapping[str, Any]) -> None:
        """Load a plugin of this program from its row in `table`, or else by importing it."""
        load = self._loader(name)
        if name in table:
            self.catalogue.try_add(name, BUILT_IN, contributions(table[name], load, self.files))
            return
        try:
            file = self._shipped_file(name)
        except UsageError as exc:
            self.catalogue.fail(name, BUILT_IN, exc, traced=False)
            return
        self._host.load(name, BUILT_IN, load, file, ours=True)

    def _loader(self, name: str) -> Callable[[], object]:
        """Return a function that imports and returns a plugin of this program."""
        if name == COMMANDS:
            return self._commands
        return partial(import_shipped, self._settings.shipped_skills, name)

    def _shipped_file(self, name: str) -> SkillFile | None:
        """Read the SKILL.md of a plugin of this program; return None if there is no SKILL.md.

        Raises:
            UsageError: the file cannot be used, or deviates from the specification.
        """
        path = self._settings.shipped_skills / name / FILE
        if not path.exists():
            return None
        from harness.agent_skills import skill_md

        return skill_md.read(path, strict=True)

    def _load_entry_points(self) -> None:
        for point in entry_points(ENTRY_POINTS):
            origin = distribution(point)
            if self._is_disabled(origin, point.name):
                continue
            found = self._host.load(point.name, origin, point.load)
            if found is None or (path := beside(point.module)) is None:
                continue
            from harness.agent_skills import skill_md

            file: SkillFile | None = None
            try:
                file = skill_md.read(path, instructs=False)
                problems = file.problems
            except UsageError as exc:
                problems = (str(exc),)
            for skill in found.skills:
                skill.file, skill.problems = file, problems

    def _load_skills_of(self, root: Path) -> None:
        seconds = self._settings.folder_deadline
        search = skill_files(root, seconds, self._is_unread)
        for path, file in search.found:
            self._load_folder(path.parent, file, root)
        if search.cut:
            self.catalogue.fail(root.name, str(root), UsageError(search.cut), traced=False)
        if search.folders > MANY_FOLDERS:
            self.catalogue.remarks.append(
                f"{root} has {search.folders:,} folders, which slows every start; "
                "move the folders that are not skills to another place"
            )

    def _is_unread(self, folder: Path) -> bool:
        """Return True if the SKILL.md of a folder is not read.

        This applies to a disabled folder, and to a shipped plugin in a checkout of this program.
        """
        if folder.name in self._disabled_names:
            return True
        if not ((folder / "plugin.py").is_file() and is_package(folder)):
            return False
        parent = folder.resolve().parent
        is_other_checkout = (parent.parent / "harness" / "_version.py").is_file()
        is_shipped = parent == self._settings.shipped_skills.resolve()
        return is_shipped or (is_other_checkout and folder.name in self._shipped)

    def _load_folder(self, folder: Path, file: SkillFile | UsageError | None, root: Path) -> None:
        origin = str(folder)
        if self._is_disabled(origin, folder.name) or file is None:
            return
        if isinstance(file, UsageError):
            self.catalogue.fail(folder.name, origin, file, traced=False)
            return
        if self._is_disabled(origin, file.name):
            return
        if (taken := self.catalogue.skills.get(file.name)) is not None:
            self._shadow(file, taken.origin)
        elif not (folder / "plugin.py").is_file():
            from harness.agent_skills.prompt_skill import PromptSkill

            found = Found(PromptSkill(file, self._use), origin, file.problems, file)
            self.catalogue.try_add(file.name, origin, Contributions([found]))
        elif root == self._settings.own_skills and not self._installed.needs_trust(folder.name):
            self._load_plugin_folder(file, folder)
        elif (copy := self._trust.trusted(folder)) is not None:
            self._load_plugin_folder(file, copy)
        elif (waiting := self.catalogue.untrusted.get(file.name)) is not None:
            self._shadow(file, str(waiting.folder))
        else:
            self.catalogue.untrusted[file.name] = file

    def _load_plugin_folder(self, file: SkillFile, source: Path) -> object | None:
        from harness.plugins.loader import import_folder

        load = partial(import_folder, source)
        return self._host.load(file.name, str(file.folder), load, file)

    def _shadow(self, file: SkillFile, by: str) -> None:
        """Record a folder that is not loaded, unless `by` is the same folder.

        Args:
            file: the SKILL.md of the folder.
            by: the origin of the other skill with this name.
        """
        with contextlib.suppress(OSError):  # raised if `by` is not a path
            if os.path.samefile(file.folder, by):  # noqa: PTH121
                return
        self.catalogue.shadowed.append(Shadowed(file.name, str(file.folder), by))


def _are_missing(*paths: Path) -> bool:
    """Return True if none of the paths exists, and False if a path cannot be checked."""
    for path in paths:
        try:
            path.stat()
        except OSError as exc:
            if isinstance(exc, FileNotFoundError):
                continue
        return False
    return True
