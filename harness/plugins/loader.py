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
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import pluggy

from harness.agent_skills.skill_md import SkillFile
from harness.api import hookspecs
from harness.api.events import Hook, Listener, RunStarted
from harness.api.formats import Format
from harness.api.skill import Skill
from harness.errors import UsageError
from harness.models.weights import FileStore
from harness.plugins.catalogue import (
    Brought,
    Catalogue,
    Found,
    FoundFormat,
    FoundFramework,
    PluginFailure,
)
from harness.plugins.checks import check_api, check_format, check_framework
from harness.plugins.skill_checks import check_skill
from harness.support.timeouts import Overdue, Raised, within
from harness.terminal.process_state import put_back
from harness.terminal.stdout_guard import prints

T = TypeVar("T")
REASON = 300
"""Characters of a reason that are shown in its one line."""


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
        file: SkillFile | None = None,
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
                run(partial(check_api, plugin))
                deprecated = self._register(plugin, f"{name} ({origin})")
                brought = run(partial(self._ask, plugin, origin, file))
                if self._listens(plugin):
                    brought.listener = self._listener(plugin, name, origin, ours=ours)
                if brought == Brought():
                    raise UsageError("it has no hook that brings anything")
                self.catalogue.keep(brought, self.disabled)
            self.catalogue.remarks += deprecated
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
            contextlib.redirect_stdout(prints(sys.stderr)),
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

    def _ask(self, plugin: object, origin: str, file: SkillFile | None) -> Brought:
        """Call the hooks of this plugin alone that bring something."""
        brought = Brought()
        problems = file.problems if file else ()

        def add_skill(skill: Skill) -> None:
            check_skill(skill)
            brought.skills.append(Found(skill, origin, problems, file))

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

    def _listener(self, plugin: object, name: str, origin: str, *, ours: bool) -> Listener:
        """Who is told of runs, within the deadline that loading has."""

        def call(hook: Hook, run: RunStarted) -> None:
            work = partial(self._call, hook, plugin, run=run)
            if ours:
                work()
            else:
                within(self._deadline, work, f"{hook} of {name}")

        return Listener(name, origin, call)

    def fail(self, name: str, origin: str, exc: BaseException, *, traced: bool = True) -> None:
        """Note why a plugin is left out.

        Args:
            traced: it was code that failed, so that where says more than what.
        """
        if self._strict:
            raise exc
        kind = "" if isinstance(exc, UsageError) else f"{type(exc).__name__}: "
        full = "".join(traceback.format_exception(exc)) if traced else ""
        said = str(exc).strip().splitlines() or [""]
        told = said[-1 if isinstance(exc, pluggy.PluginValidationError) else 0]  # pluggy's verdict
        reason = _printable(f"{kind}{told}".removesuffix(": "))
        self.catalogue.failures.append(PluginFailure(name, origin, reason, full))


def _at_once(work: Callable[[], T]) -> T:
    return work()


def _printable(line: str) -> str:
    """The line as far as it can be printed: a stranger may have written it."""
    return "".join(c for c in line if c.isprintable())[:REASON]
