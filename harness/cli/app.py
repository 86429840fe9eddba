"""The application: settings, registry, skills, models and run log wired together.

`App.dispatch(line)` is the only way in. One-shot, REPL and tests call it, and it hands back an
`Outcome` or raises an error of `harness.errors` once the run has been closed in the log.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness.plugins.builtin_backends as shipped_backends
from harness.api.skill import Skill
from harness.chat.skill import Chat
from harness.chat.tool_loop import tools_for
from harness.chat.toolbox import Toolbox
from harness.cli import intent
from harness.cli.commands.plugin import Commands
from harness.errors import (
    HarnessError,
    InputError,
    InternalError,
    NotTrusted,
    RegistryError,
    UsageError,
)
from harness.models.pool import Choice, ModelPool, Models
from harness.models.resolution import Resolution
from harness.models.weights import FileStore
from harness.plugins.catalogue import Catalogue
from harness.plugins.discovery import Discovery
from harness.runs import grammar
from harness.runs.run_log import RunLog
from harness.runs.runner import Door, Execution, Outcome
from harness.settings import Settings
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.models.registry import Registry


@dataclass(frozen=True, slots=True)
class _Way:
    """The way in that a line takes, and the general options that hold there."""

    door: Door
    screen: Screen
    general: Mapping[str, Any]


class App:
    """Everything a line needs.

    Args:
        general: general options given before the line, by key.
        plugins: plugin objects to load besides what is found, by name.
        bare: load the framework's own commands alone: what must work although a plugin does not.
    """

    def __init__(
        self,
        settings: Settings,
        door: Door,
        screen: Screen | None = None,
        general: Mapping[str, Any] | None = None,
        plugins: Mapping[str, object] | None = None,
        *,
        bare: bool = False,
    ) -> None:
        self.settings = settings
        self.door = door
        self.screen = screen or Screen()
        self.general = dict(general or {})
        self._plugins = dict(plugins or {})
        self._bare = bare
        self.run_log = RunLog(settings.run_log, self.screen.notice)
        self._toolbox = Toolbox(self)
        self.chat = Chat(self._toolbox)
        self._under_way: Mapping[str, Any] = {}
        asked = self.general.get("registry")
        # As the option itself does: `--registry=~/x` comes from the shell as it is.
        self._registry_path = Path(asked).expanduser() if asked else None
        self._registry: Registry | None = None
        self._pool: ModelPool | None = None
        self._discover()

    @property
    def catalogue(self) -> Catalogue:
        return self._discovery.catalogue

    @property
    def registry(self) -> Registry:
        """The registry, read on first use.

        Raises:
            RegistryError: the registry cannot be used.
        """
        if self._registry is None:
            self._registry = self._read_registry()
        return self._registry

    @property
    def pool(self) -> ModelPool:
        """The loaded models; raises as `registry` does."""
        if self._pool is None:
            self._pool = ModelPool(self.registry, self.catalogue.backends)
        return self._pool

    @property
    def last_resolution(self) -> Resolution | None:
        """The model in use, and why it was chosen."""
        return self._pool.last if self._pool is not None else None

    def reload(self) -> None:
        """Read the registry and find the skills again; loaded models are freed.

        Raises:
            RegistryError: everything stays as it was.
        """
        found = self._read_registry()
        self._discovery.forget()
        self.close()
        self._registry, self._pool = found, None
        self._discover()

    def _discover(self) -> None:
        files = FileStore(lambda: self.registry.files, self.settings.cache_dir, self.screen.notice)
        builtins = {"backends": shipped_backends, "commands": Commands(self), **self._plugins}
        discovery = Discovery(self.settings, files, builtins)
        discovery.run(bare=self._bare)
        self._discovery = discovery
        for failure in self.catalogue.failures:
            self.screen.notice(
                f"plugin {failure.name} left out: {failure.reason} ({failure.origin}; /skills)"
            )
        for remark in self.catalogue.remarks:
            self.screen.notice(remark)

    def dispatch(self, line: str) -> Outcome:
        """Run one line and return what came of it.

        Raises:
            HarnessError: with its exit code; the run is closed in the log.
        """
        return self._run(line, _Way(self.door, self.screen, self.general))

    def dispatch_called(self, line: str) -> Outcome:
        """Run a line that the model made, under the general options of the user's own line.

        It reads no stdin and puts nothing on stdout, and the user is asked first where it would
        change anything.

        Raises:
            HarnessError: as `dispatch` does; NotAllowed where the user does not let it run.
        """
        door = Door("model", self.door.confirm, asks_first=True)
        return self._run(line, _Way(door, Screen(io.StringIO(), self.screen.err), self._under_way))

    def _run(self, line: str, way: _Way) -> Outcome:
        try:
            line.encode()
        except UnicodeEncodeError as exc:  # bytes of the terminal or a pipe that are no UTF-8
            raise InputError(f"the line is not UTF-8 text (character {exc.start})") from exc
        try:
            return self._dispatch(line, way)
        except (HarnessError, KeyboardInterrupt):
            raise
        except Exception as exc:
            raise InternalError(exc) from exc

    def _dispatch(self, line: str, way: _Way) -> Outcome:
        name, rest = grammar.split_command(line) or self._plain_text(line, way)
        skill = self._skill(name, rest)
        parsed = grammar.parse(skill, rest, way.general)
        if parsed.help:
            as_json = "--json " if parsed.general.as_json else ""
            return self._dispatch(f"/help {as_json}{name}", way)
        self._use_registry(parsed.general.registry)
        settings = self.settings
        if self._registry_path is not None:  # a skill that writes the registry writes this one
            settings = replace(settings, user_registry=self._registry_path, registry_required=True)
        if not way.door.asks_first:
            self._under_way = parsed.general.model_dump(
                by_alias=True, exclude_defaults=True, exclude={"as_json", "trust"}
            )
        execution = Execution(
            settings,
            way.door,
            way.screen,
            self.run_log,
            self.pool,
            self.catalogue,
            skill,
            parsed,
            line,
        )
        return execution.execute()

    def trust(self, name: str) -> None:
        """Trust the project's plugin `name` as it is now, and load it.

        Raises:
            UsageError: it cannot be loaded.
        """
        self._discovery.trust(name)

    def disable(self, name: str) -> None:
        """Disable all that has this name, and read everything anew without it.

        Raises:
            OutputError: the decision cannot be stored.
        """
        self._discovery.disabled.add(name)
        self.reload()

    def enable(self, name: str) -> None:
        """Undo `disable`. Raises as it does."""
        self._discovery.disabled.remove(name)
        self.reload()

    def names(self) -> frozenset[str]:
        """The names that plugins and skills have, as far as can be told without importing any."""
        return self._discovery.names()

    def close(self) -> None:
        """Free the loaded models."""
        if self._pool is not None:
            self._pool.close()

    def _plain_text(self, line: str, way: _Way) -> tuple[str, str]:
        """What a line without a slash means: a skill it clearly asks for, or a turn of chat."""
        if asked := intent.triggered(self.catalogue.skills, line):
            self.screen.notice(f"-> /{asked[0]} (auto)")
            return asked
        fitting = intent.described(self.catalogue.skills, line)
        if fitting and self._chat_calls(way).isdisjoint(fitting):  # else the model sees to it
            if len(fitting) == 1:
                self.screen.notice(f"-> /{fitting[0]} (auto)")
                return fitting[0], line.strip()
            names = " and ".join(f"/{name}" for name in fitting)
            self.screen.notice(f"{names} would fit; name one to use it")
        return self.chat.name, f"-- {line}"  # what looks like an option is part of what is said

    def _chat_calls(self, way: _Way) -> set[str]:
        """The skills that the model of a chat could call by itself, which it tells once loaded."""
        general = grammar.parse(self.chat, "-- ", way.general).general
        self._use_registry(general.registry)
        models = Models(self.pool, Choice(general.model, fallback=not general.no_fallback))
        try:
            tools = models.run("chat", lambda model: tools_for(model, self._toolbox))
        except HarnessError:  # the run itself will say so
            return set()
        return {tool.name for tool in tools}

    def _skill(self, name: str, rest: str) -> Skill:
        if name in self.catalogue.skills:
            return self.catalogue.skills[name].skill
        if name not in self.catalogue.untrusted:
            raise self.catalogue.unknown(name)
        folder = self.catalogue.untrusted[name].folder
        asked = bool(self.general.get("trust")) or grammar.trusts(rest)
        question = f"/{name} is a plugin of this project ({folder}). Run its code?"
        if not asked and not (self.door.confirm and self.door.confirm(question)):
            raise NotTrusted(
                f"/{name} is a plugin of this project that is not trusted as it is now",
                where=str(folder),
                hint=f"Read it, then add --trust once, right after /{name}.",
            )
        self.trust(name)
        if name not in self.catalogue.skills:
            raise UsageError(f"the plugin {name} brings no skill /{name}", hint="`/skills`")
        return self.catalogue.skills[name].skill

    def _use_registry(self, path: Path | None) -> None:
        """Change to the registry this line asks for, and back again on the next one."""
        if path != self._registry_path:
            before, self._registry_path = self._registry_path, path
            try:
                self.reload()
            except RegistryError:
                self._registry_path = before
                raise

    def _read_registry(self) -> Registry:
        from harness.models.registry import load

        path = self._registry_path
        required = path is not None or self.settings.registry_required
        user = path or self.settings.user_registry
        if required and not user.is_file():
            raise RegistryError("there is no such registry file", where=str(user))
        return load(self.settings.shipped_registry, user)
