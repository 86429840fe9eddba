"""Loading one plugin at a time, so that what is broken costs itself alone.

`PluginHost.load` imports, registers and questions one plugin. Whatever that raises, `SystemExit`
included, or a deadline that passes, becomes a `PluginFailure` in the catalogue, and nothing of that
plugin stays behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pluggy

from harness import hookspecs, skill_md
from harness.backends.base import Backend
from harness.deadline import Overdue, Raised, within
from harness.errors import UsageError
from harness.files import FileStore
from harness.skill_check import check_skill
from harness.skills import Skill
from harness.streams import Prints
from harness.surroundings import put_back

T = TypeVar("T")
REASON = 300
"""Characters of a reason that are shown in its one line."""


@dataclass(frozen=True, slots=True)
class Found:
    """A skill and where it comes from.

    Attributes:
        file: its SKILL.md, where it has one.
        problems: what does not follow the specification of those.
    """

    skill: Skill
    origin: str
    problems: tuple[str, ...] = ()
    file: skill_md.SkillFile | None = None


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
        disabled: what the user has disabled, by name, with its origin, or "" for nothing there.
        framework: the names of the harness's own commands.
        remarks: what plugins did to the process while they were loaded, a line each.
    """

    skills: dict[str, Found] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    failures: list[PluginFailure] = field(default_factory=list)
    untrusted: dict[str, skill_md.SkillFile] = field(default_factory=dict)
    disabled: dict[str, str] = field(default_factory=dict)
    framework: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)


class PluginHost:
    """The plugin manager and what its plugins brought.

    Args:
        files: handed to plugins that bring backends.
        deadline: seconds that a stranger's plugin may take to be imported, and as many for each
            further step.
        strict: raise instead of keeping a failure.

    Attributes:
        disabled: names of skills that are not kept from now on.
    """

    def __init__(
        self,
        files: FileStore,
        *,
        deadline: float,
        strict: bool = False,
    ) -> None:
        self.catalogue = Catalogue()
        self._files = files
        self._deadline = deadline
        self.disabled: frozenset[str] = frozenset()
        self._strict = strict
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def load(
        self,
        name: str,
        origin: str,
        load: Callable[[], object],
        file: skill_md.SkillFile | None = None,
        *,
        ours: bool = False,
    ) -> None:
        """Load, register and question one plugin; whatever it does wrong is its own failure.

        Args:
            ours: it is part of this code, so that nothing has to be guarded against.
        """
        plugin: object | None = None
        run = _at_once if ours else partial(within, self._deadline, name=f"loading {name}")
        try:
            with contextlib.nullcontext() if ours else self._guarded(name, origin):
                plugin = run(load)
                self._manager.register(plugin, name=f"{name} ({origin})")
                self._manager.check_pending()
                self._keep(*run(partial(self._ask, plugin, origin, file)))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  a stranger's code may raise anything
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self.fail(name, origin, self._reason(name, exc))

    @contextlib.contextmanager
    def _guarded(self, name: str, origin: str) -> Iterator[None]:
        """What is printed goes to stderr, stdin is empty, and what is changed is put back."""

        def say(changed: str) -> None:
            self.catalogue.remarks.append(f"plugin {name} {changed} ({origin})")

        given = sys.stdin
        with (
            Path(os.devnull).open(encoding="utf-8") as nothing,
            contextlib.redirect_stdout(Prints(sys.stderr)),
        ):
            try:
                sys.stdin = nothing
                with put_back(say):
                    yield
            finally:
                sys.stdin = given

    def _reason(self, name: str, exc: BaseException) -> BaseException:
        """What to say of a plugin that could not be loaded."""
        if isinstance(exc, Overdue):
            return UsageError(
                f"it was not loaded within {self._deadline:g} s",
                hint=f"HARNESS_PLUGIN_DEADLINE gives it more; `/skills disable {name}` spares it.",
            )
        return exc.__cause__ or exc if isinstance(exc, Raised) else exc

    def _ask(
        self, plugin: object, origin: str, file: skill_md.SkillFile | None
    ) -> tuple[list[Found], list[Backend]]:
        """Call the hooks of this plugin alone."""
        everyone = (p for _, p in self._manager.list_name_plugin())
        others = [p for p in everyone if p is not None and p is not plugin]
        skills: list[Found] = []
        backends: list[Backend] = []

        problems = file.problems if file else ()

        def add(skill: Skill) -> None:
            check_skill(skill)
            skills.append(Found(skill, origin, problems, file))

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
        mine: set[str] = set()
        for found in skills:
            name = found.skill.name
            if name in mine:
                raise UsageError(f"it brings /{name} twice")
            mine.add(name)
            if name in self.disabled:
                self.catalogue.disabled.setdefault(name, found.origin)
            elif (taken := names.get(name)) is not None:
                raise duplicate(name, taken.origin)
            else:
                names[name] = found
        for backend in backends:
            if backend.name in self.catalogue.backends:
                raise UsageError(f"there is a backend {backend.name} already")
        self.catalogue.skills = names
        self.catalogue.backends.update({b.name: b for b in backends})

    def fail(self, name: str, origin: str, exc: BaseException, *, traced: bool = True) -> None:
        """Note why a plugin is left out.

        Args:
            traced: it was code that failed, so that where says more than what.
        """
        if self._strict:
            raise exc
        kind = "" if isinstance(exc, UsageError) else f"{type(exc).__name__}: "
        full = "".join(traceback.format_exception(exc)) if traced else ""
        reason = _one_line(f"{kind}{exc}")
        self.catalogue.failures.append(PluginFailure(name, origin, reason, full))


def duplicate(name: str, origin: str) -> UsageError:
    return UsageError(f"the name /{name} is taken by the one from {origin}")


def _at_once(work: Callable[[], T]) -> T:
    return work()


def _one_line(text: str) -> str:
    """The first line, as far as it can be printed: a stranger may have written it."""
    line = text.strip().partition("\n")[0]
    return "".join(c for c in line if c.isprintable())[:REASON]
