"""Load plugins one at a time, so that a broken plugin does not affect other plugins.

`PluginHost.load` imports a plugin, registers it and calls its `register_` hooks. An exception, even
`SystemExit`, or a missed deadline is recorded as a `PluginFailure` in the catalogue.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import pluggy

from harness.agent_skills.skill_file import SkillFile
from harness.api import hookspecs
from harness.api.hookspecs import Hook, Listener, RunHook, RunStarted, ToolHook, ToolStarted
from harness.errors import Interrupted, UsageError
from harness.models.weights import FileStore
from harness.plugins.catalogue import (
    Catalogue,
    Contributions,
    Found,
    FoundFormat,
    FoundFramework,
    PluginFailure,
)
from harness.support.calls import Overdue, Raised, within
from harness.terminal.stdout_guard import prints

if TYPE_CHECKING:
    from harness.api.result import Format
    from harness.api.skill import Skill
    from harness.models.backend import Backend

T = TypeVar("T")
MAX_REASON = 300
"""Maximum number of characters of a failure's reason."""
HOOKS = get_args(RunHook) + get_args(ToolHook)
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?")


class PluginHost:
    """A plugin manager, and the catalogue to which the contributions of plugins are added.

    Args:
        files: the store of model files, which is passed to plugins that register backends.
        deadline: time limit in seconds for each step of a third-party plugin. The steps are the
            import, all `register_` hooks together, and each call of another hook.
        strict: True to raise exceptions instead of recording failures.

    Attributes:
        disabled: names of skills to skip.
    """

    def __init__(self, files: FileStore, *, deadline: float, strict: bool = False) -> None:
        self.catalogue = Catalogue()
        self.disabled: frozenset[str] = frozenset()
        self._files = files
        self._deadline = deadline
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
    ) -> Contributions | None:
        """Load a plugin, and return its contributions, or None after recording a failure.

        Args:
            load: imports and returns the plugin.
            file: the SKILL.md of the plugin, or None.
            ours: True for a plugin of this program, which has no deadline, and may use stdin and
                stdout.
        """
        plugin: object | None = None
        limited = partial(within, self._deadline, name=f"loading {name}")
        call: Callable[[Callable[[], Any]], Any] = operator.call if ours else limited
        try:
            with contextlib.nullcontext() if ours else _redirected():
                plugin = call(load)
                call(partial(_check_api, plugin))
                deprecated = self._register(plugin, f"{name} ({origin})")
                found: Contributions = call(partial(self._collect, plugin, origin, file, ours=ours))
                if any(hook.name in HOOKS for hook in self._manager.get_hookcallers(plugin) or ()):
                    found.listener = self._listener(plugin, name, origin, ours=ours)
                if found == Contributions():
                    raise UsageError("it has no hook that registers anything")
                self.catalogue.add(found, self.disabled)
            self.catalogue.remarks += deprecated
            return found
        except (Exception, SystemExit) as exc:  # noqa: BLE001 plugin code may raise any exception
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            cause: BaseException = exc
            if isinstance(exc, Raised):
                cause = exc.__cause__ or exc
            elif isinstance(exc, Overdue):
                cause = UsageError(
                    f"it was not loaded within {self._deadline:g} s",
                    hint=f"Raise HARNESS_PLUGIN_DEADLINE, or use `/skills disable {name}`.",
                )
            self.fail(name, origin, cause)
            return None

    def add(self, name: str, origin: str, indexed: Contributions) -> None:
        """Add contributions without importing a plugin, or record a failure."""
        try:
            self.catalogue.add(indexed, self.disabled)
        except UsageError as exc:
            self.fail(name, origin, exc)

    def fail(self, name: str, origin: str, exc: BaseException, *, traced: bool = True) -> None:
        """Record why a plugin is left out; with `strict`, raise the error instead.

        Args:
            exc: the error that occurred while the plugin was loaded.
            traced: True to record the traceback.
        """
        if self._strict:
            raise exc
        kind = "" if isinstance(exc, UsageError) else f"{type(exc).__name__}: "
        full = "".join(traceback.format_exception(exc)) if traced else ""
        lines = str(exc).strip().splitlines() or [""]
        message = lines[-1 if isinstance(exc, pluggy.PluginValidationError) else 0]
        reason = "".join(c for c in f"{kind}{message}".removesuffix(": ") if c.isprintable())
        self.catalogue.failures.append(PluginFailure(name, origin, reason[:MAX_REASON], full))

    def _register(self, plugin: object, name: str) -> list[str]:
        """Register a plugin, and return a line for each deprecated feature that it uses.

        Each warning of the registration is issued again, for the tests of the plugin.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        for found in caught:
            warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)
        return [f"{name}: {found.message}" for found in caught]

    def _collect(
        self, plugin: object, origin: str, file: SkillFile | None, *, ours: bool
    ) -> Contributions:
        """Check and return the objects that the `register_` hooks of a plugin register.

        Raises:
            UsageError: a skill, framework or format is invalid.
            Exception: raised by the plugin.
        """
        skills: list[Skill] = []
        backends: list[Backend] = []
        frameworks: dict[str, Path] = {}
        formats: list[Format] = []
        self._call("register_skills", plugin, register=skills.append)
        self._call("register_backends", plugin, register=backends.append, files=self._files)
        self._call("register_frameworks", plugin, register=frameworks.__setitem__)
        self._call("register_formats", plugin, register=formats.append)
        if skills or frameworks or formats:
            from harness.plugins import plugin_checks  # imported late, since it imports pydantic

            for skill in skills:
                plugin_checks.check_skill(skill, schema=not ours)
            for name, path in frameworks.items():
                plugin_checks.check_framework(name, path)
            for output_format in formats:
                plugin_checks.check_format(output_format)
        problems = file.problems if file else ()
        return Contributions(
            [Found(skill, origin, problems, file) for skill in skills],
            backends,
            {name: FoundFramework(path, origin) for name, path in frameworks.items()},
            [FoundFormat(output_format, origin) for output_format in formats],
        )

    def _call(self, hook: str, plugin: object, **arguments: Any) -> list[Any]:
        """Call a hook of a single plugin, and return its results other than None."""
        everyone = (p for _, p in self._manager.list_name_plugin())
        others = [p for p in everyone if p is not None and p is not plugin]
        return list(self._manager.subset_hook_caller(hook, others)(**arguments) or ())

    def _listener(self, plugin: object, name: str, origin: str, *, ours: bool) -> Listener:
        def call(hook: Hook, event: RunStarted | ToolStarted) -> list[Any]:
            argument = "run" if isinstance(event, RunStarted) else "call"
            work = partial(self._call, hook, plugin, **{argument: event})
            if ours:
                return work()
            try:
                return within(self._deadline, work, f"{hook} of {name}")
            except Interrupted as exc:  # raised by the plugin, not by Ctrl-C
                raise Raised from exc

        return Listener(name, origin, call)


@contextlib.contextmanager
def _redirected() -> Iterator[None]:
    """In the block, send printed text to stderr, and make stdin empty."""
    original = sys.stdin
    with (
        Path(os.devnull).open(encoding="utf-8") as empty,
        contextlib.redirect_stdout(prints(sys.stderr)),
    ):
        sys.stdin = empty
        try:
            yield
        finally:
            sys.stdin = original


def _check_api(plugin: Any) -> None:
    """Check that this program supports the hook version in a plugin's `harness_api`, if any.

    Raises:
        UsageError: the plugin needs another major version or a later minor version of the hooks, or
            states an invalid version.
    """
    stated = getattr(plugin, "harness_api", None)
    if stated is None:
        return
    needs = _VERSION.fullmatch(stated) if isinstance(stated, str) else None
    if needs is None:
        raise UsageError(f'harness_api is {stated!r}; it must be like "{hookspecs.API_VERSION}"')
    major, minor = map(int, hookspecs.API_VERSION.split("."))
    if int(needs[1]) < major:
        raise UsageError(
            f"it is written for version {stated} of the hooks, and this harness has "
            f"{hookspecs.API_VERSION}",
            hint="Install a newer release of the plugin, or an older harness.",
        )
    if (int(needs[1]), int(needs[2] or 0)) > (major, minor):
        raise UsageError(
            f"it needs version {stated} of the hooks, and this harness has {hookspecs.API_VERSION}",
            hint="Install a newer nanda-harness.",
        )
