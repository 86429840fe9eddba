"""Loading one plugin at a time, so that what is broken costs itself alone.

`PluginHost.load` imports, registers and questions one plugin. Whatever that raises, `SystemExit`
included, becomes a `PluginFailure` in the catalogue, and nothing of that plugin stays behind.
"""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pluggy

from harness import hookspecs, skill_md
from harness.backends.base import Backend
from harness.errors import UsageError
from harness.files import FileStore
from harness.options import GeneralOptions, flags
from harness.skills import Skill, SkillOptions


@dataclass(frozen=True, slots=True)
class Found:
    """A skill and where it comes from."""

    skill: Skill
    origin: str
    problems: tuple[str, ...] = ()


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
        untrusted: a project's plugins that nobody has trusted, by name, not yet loaded.
    """

    skills: dict[str, Found] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    failures: list[PluginFailure] = field(default_factory=list)
    untrusted: dict[str, skill_md.SkillFile] = field(default_factory=dict)


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
                self._manager.register(plugin, name=f"{name} ({origin})")
                self._manager.check_pending()
                self._keep(*self._ask(plugin, origin, problems))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  a stranger's code may raise anything
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self.fail(name, origin, exc)

    def _ask(
        self, plugin: object, origin: str, problems: tuple[str, ...]
    ) -> tuple[list[Found], list[Backend]]:
        """Call the hooks of this plugin alone."""
        everyone = (p for _, p in self._manager.list_name_plugin())
        others = [p for p in everyone if p is not None and p is not plugin]
        skills: list[Found] = []
        backends: list[Backend] = []

        def add(skill: Skill) -> None:
            _check_skill(skill)
            skills.append(Found(skill, origin, problems))

        self._manager.subset_hook_caller("register_skills", others)(register=add)
        self._manager.subset_hook_caller("register_backends", others)(
            register=backends.append, files=self._files
        )
        if not skills and not backends:
            raise UsageError("it registers neither a skill nor a backend")
        return skills, backends

    def _keep(self, skills: list[Found], backends: list[Backend]) -> None:
        """Put all of a plugin into the catalogue, or nothing of it."""
        names = dict(self.catalogue.skills)
        for found in skills:
            if (taken := names.get(found.skill.name)) is not None:
                raise duplicate(found.skill.name, taken.origin)
            names[found.skill.name] = found
        for backend in backends:
            if backend.name in self.catalogue.backends:
                raise UsageError(f"there is a backend {backend.name} already")
        self.catalogue.skills = names
        self.catalogue.backends.update({b.name: b for b in backends})

    def fail(self, name: str, origin: str, exc: BaseException) -> None:
        """Note why a plugin is left out."""
        if self._strict:
            raise exc
        kind = "" if isinstance(exc, UsageError) else f"{type(exc).__name__}: "
        full = "".join(traceback.format_exception(exc))
        reason = f"{kind}{exc}".strip().partition("\n")[0]
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
