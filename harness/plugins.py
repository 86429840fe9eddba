"""Loading one plugin at a time, so that what is broken costs itself alone.

`PluginHost.load` imports, registers and questions one plugin. Whatever that raises, `SystemExit`
included, becomes a `PluginFailure` in the catalogue, and nothing of that plugin stays behind.
"""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pluggy

from harness import hookspecs, skill_md
from harness.backends.base import Backend
from harness.errors import UsageError
from harness.events import Hook, Listener
from harness.files import FileStore
from harness.formats import Format
from harness.options import GeneralOptions, flags
from harness.plugin_checks import check_api, check_format, check_framework
from harness.skills import Skill, SkillOptions


@dataclass(frozen=True, slots=True)
class Found:
    """A skill and where it comes from."""

    skill: Skill
    origin: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundFramework:
    """A framework's file and where it comes from."""

    path: Path
    origin: str


@dataclass(frozen=True, slots=True)
class FoundFormat:
    """A format and where it comes from."""

    format: Format
    origin: str


@dataclass(slots=True)
class Brought:
    """What one plugin brings."""

    skills: list[Found] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    frameworks: list[tuple[str, FoundFramework]] = field(default_factory=list)
    formats: list[FoundFormat] = field(default_factory=list)
    listener: Listener | None = None


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that was left out, with the reason in one line and in full."""

    name: str
    origin: str
    reason: str
    traceback: str = ""


@dataclass(slots=True)
class Catalogue:
    """All that was found.

    Attributes:
        formats: by suffix.
        notes: what plugins should change before it breaks them, a line each.
        untrusted: a project's plugins that nobody has trusted, by name, not yet loaded.
    """

    skills: dict[str, Found] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    frameworks: dict[str, FoundFramework] = field(default_factory=dict)
    formats: dict[str, FoundFormat] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    untrusted: dict[str, skill_md.SkillFile] = field(default_factory=dict)

    def formats_for(self, skill: Skill) -> dict[str, FoundFormat]:
        """The formats that this skill's records can be saved in, but for its own suffixes."""
        return {
            suffix: found
            for suffix, found in self.formats.items()
            if skill.formats
            and suffix not in skill.saves
            and (not found.format.skills or skill.name in found.format.skills)
        }


class PluginHost:
    """The plugin manager and what its plugins brought.

    Args:
        files: handed to plugins that bring backends.
        strict: raise instead of keeping a failure.
    """

    def __init__(self, files: FileStore, *, strict: bool = False) -> None:
        self.catalogue = Catalogue()
        self._files = files
        self._strict = strict
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def load(
        self, name: str, origin: str, load: Callable[[], object], problems: tuple[str, ...] = ()
    ) -> None:
        """Load, register and question one plugin; whatever it does wrong is its own failure."""
        plugin: object | None = None
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout carries results alone
                plugin = load()
                check_api(plugin)
                notes = self._register(plugin, f"{name} ({origin})")
                self._keep(self._ask(plugin, name, origin, problems))
            self.catalogue.notes += notes
        except (Exception, SystemExit) as exc:  # noqa: BLE001  a stranger's code may raise anything
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self.fail(name, origin, exc)

    def _register(self, plugin: object, name: str) -> list[str]:
        """Register a plugin; returns what it uses that is deprecated, a line each.

        Each is given as a DeprecationWarning too, for the tests of the plugin's author.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        for found in caught:
            warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)
        return [f"{name}: {found.message}" for found in caught]

    def _ask(self, plugin: object, name: str, origin: str, problems: tuple[str, ...]) -> Brought:
        """Call the hooks of this plugin alone."""
        brought = Brought()

        def add_skill(skill: Skill) -> None:
            _check_skill(skill)
            brought.skills.append(Found(skill, origin, problems))

        def add_framework(name: str, path: Path) -> None:
            check_framework(name, path)
            brought.frameworks.append((name, FoundFramework(path, origin)))

        def add_format(output_format: Format) -> None:
            check_format(output_format)
            brought.formats.append(FoundFormat(output_format, origin))

        self._call("register_skills", plugin, register=add_skill)
        self._call("register_backends", plugin, register=brought.backends.append, files=self._files)
        self._call("register_frameworks", plugin, register=add_framework)
        self._call("register_formats", plugin, register=add_format)
        if self._listens(plugin):
            brought.listener = Listener(
                name, origin, lambda hook, run: self._call(hook, plugin, run=run)
            )
        if brought == Brought():
            raise UsageError("it has no hook that brings anything")
        return brought

    def _call(self, hook: str, plugin: object, **arguments: Any) -> None:
        """Call one hook of one plugin."""
        everyone = (p for _, p in self._manager.list_name_plugin())
        others = [p for p in everyone if p is not None and p is not plugin]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    def _listens(self, plugin: object) -> bool:
        """Whether the plugin has a hook of runs."""
        callers = (getattr(self._manager.hook, hook) for hook in get_args(Hook))
        return any(i.plugin is plugin for caller in callers for i in caller.get_hookimpls())

    def _keep(self, brought: Brought) -> None:
        """Put all of a plugin into the catalogue, or nothing of it."""
        skills = dict(self.catalogue.skills)
        for found in brought.skills:
            if (taken := skills.get(found.skill.name)) is not None:
                raise duplicate(found.skill.name, taken.origin)
            skills[found.skill.name] = found
        frameworks, formats = dict(self.catalogue.frameworks), dict(self.catalogue.formats)
        for name, framework in brought.frameworks:
            if (known := frameworks.get(name)) is not None:
                raise UsageError(f"there is a framework {name} already, from {known.origin}")
            frameworks[name] = framework
        for brought_format in brought.formats:
            suffix = brought_format.format.suffix
            if (other := formats.get(suffix)) is not None:
                raise UsageError(f"there is a format {suffix} already, from {other.origin}")
            formats[suffix] = brought_format
        for backend in brought.backends:
            if backend.name in self.catalogue.backends:
                raise UsageError(f"there is a backend {backend.name} already")
        self.catalogue.skills = skills
        self.catalogue.backends.update({b.name: b for b in brought.backends})
        self.catalogue.frameworks, self.catalogue.formats = frameworks, formats
        if brought.listener is not None:
            self.catalogue.listeners.append(brought.listener)

    def fail(self, name: str, origin: str, exc: BaseException) -> None:
        """Note why a plugin is left out."""
        if self._strict:
            raise exc
        kind = "" if isinstance(exc, UsageError) else f"{type(exc).__name__}: "
        full = "".join(traceback.format_exception(exc))
        said = str(exc).strip().splitlines() or [""]
        told = said[-1 if isinstance(exc, pluggy.PluginValidationError) else 0]  # pluggy's verdict
        reason = f"{kind}{told}".removesuffix(": ")
        self.catalogue.failures.append(PluginFailure(name, origin, reason, full))


def duplicate(name: str, origin: str) -> UsageError:
    return UsageError(f"the name /{name} is taken by the one from {origin}")


def _check_skill(skill: Any) -> None:
    """Refuse what the harness could not use later."""
    name = getattr(skill, "name", None)
    if not isinstance(name, str) or not skill_md.NAME.fullmatch(name):
        raise UsageError(f"the skill name {name!r} is not lower-case letters, digits and hyphens")
    if not str(getattr(skill, "summary", "")).strip():
        raise UsageError(f"/{name} has no summary")
    options = getattr(skill, "Options", None)
    if not (isinstance(options, type) and issubclass(options, SkillOptions)):
        raise UsageError(f"/{name}: Options is no subclass of SkillOptions")
    if not isinstance(skill, Skill):
        raise UsageError(f"/{name} is no harness.Skill")
    if taken := flags(options).keys() & flags(GeneralOptions).keys():
        raise UsageError(f"/{name}: {', '.join(sorted(taken))} belongs to the harness")
    for trigger in skill.triggers:
        re.compile(trigger)
