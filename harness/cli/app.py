"""The application: settings, registry, skills, models, run log, and dispatch of lines.

All frontends use `App.dispatch`, which returns an `Outcome` or raises an error of `harness.errors`.
In both cases, the run is closed in the run log. What only a run needs is imported when a line runs,
so that the first prompt appears quickly.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.model_access import ModelAccess
from harness.errors import ModelUnavailable
from harness.models.pool import ModelPool
from harness.models.weights import FileStore
from harness.plugins.catalogue import Catalogue
from harness.plugins.discovery import BuiltinBackends, Discovery
from harness.runs.frontend import Caller, Callers, Frontend, Outcome, guarded, in_shell
from harness.runs.run_log import Run, RunLog
from harness.settings import Settings
from harness.support.reading.text_input import at_home
from harness.terminal.console import OnProgress, Screen

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.api.skill import Skill
    from harness.chat.conversation import Conversation
    from harness.chat.skill import Chat
    from harness.chat.toolbox import Toolbox
    from harness.mcp.client import Servers
    from harness.models.registry import Registry
    from harness.permissions.permissions import Permissions
    from harness.runs.invocation import Invocation

OFFERED = 100
"""Maximum number of characters of the offered line in the question."""


class App:
    """All services that lines need, and their dispatch.

    Args:
        general: general options given before the line, by key.
        plugins: plugin objects to load besides those found, by name.
        bare: load only the framework's own commands, for commands that must work although a plugin
            does not.
    """

    def __init__(
        self,
        settings: Settings,
        frontend: Frontend,
        screen: Screen | None = None,
        general: Mapping[str, Any] | None = None,
        plugins: Mapping[str, object] | None = None,
        *,
        bare: bool = False,
    ) -> None:
        self.settings = settings
        self._callers = Callers(Caller(frontend, screen or Screen()))
        self.general = dict(general or {})
        self._plugins = dict(plugins or {})
        self._bare = bare
        self.run_log = RunLog(settings.run_log, self.screen.notice)
        path = self.general.get("registry")
        self.models = ModelAccess(
            lambda: self.settings,
            at_home(path) if path else None,
            lambda: self.catalogue.backends,
            self.screen.notice,
        )
        self._discover()

    @property
    def caller(self) -> Caller:
        """Who the line that this thread runs is for."""
        return self._callers.current

    @property
    def frontend(self) -> Frontend:
        """The frontend of the line that this thread runs."""
        return self.caller.frontend

    @frontend.setter
    def frontend(self, frontend: Frontend) -> None:
        self._callers.own = replace(self._callers.own, frontend=frontend)

    @property
    def screen(self) -> Screen:
        """The output of the line that this thread runs."""
        return self.caller.screen

    @screen.setter
    def screen(self, screen: Screen) -> None:
        self._callers.own = replace(self._callers.own, screen=screen)

    @property
    def current_general(self) -> GeneralOptions | None:
        """The general options of the user's line that this thread runs."""
        return self._callers.general

    @cached_property
    def toolbox(self) -> Toolbox:
        """The tools of the chat model, those that are described in most detail first."""
        from harness.chat.sources.activate_skill import activation
        from harness.chat.sources.builtin_tools import BuiltinTools
        from harness.chat.sources.call_log import log_invalid
        from harness.chat.sources.skill_tool import skill_tools
        from harness.chat.toolbox import Toolbox

        shipped, others = partial(skill_tools, self, True), partial(skill_tools, self, False)
        prompts = partial(activation, self, lambda: self.models.last_resolution)
        return Toolbox(
            [prompts, shipped, BuiltinTools(self), others],
            lambda: self.mcp_servers,
            partial(log_invalid, self),
        )

    @cached_property
    def mcp_servers(self) -> Servers:
        """The servers of mcp.json; none is started yet."""
        from harness.mcp.client import Servers

        return Servers(self.settings, self)

    @cached_property
    def conversation(self) -> Conversation:
        """The conversation of the chat and of prompt skills."""
        from harness.chat.conversation import Conversation

        return Conversation.of(self.settings, lambda text: self.screen.notice(text))

    @cached_property
    def chat(self) -> Chat:
        """The skill /chat."""
        from harness.chat.skill import Chat

        return Chat(self.toolbox, self.conversation, lambda: self.catalogue.skills)

    @property
    def permissions(self) -> Permissions:
        """What the user of the current line allows models to do."""
        from harness.permissions.permissions import Permissions

        asked, general = self.frontend, self.current_general
        yes = general is not None and general.yes
        return Permissions(self.models.settings, asked.choose, asked.confirm, yes=yes)

    @property
    def catalogue(self) -> Catalogue:
        return self.discovery.catalogue

    @property
    def registry(self) -> Registry:
        """The registry, read on first use.

        Raises:
            RegistryError: the registry cannot be used.
        """
        return self.models.registry

    @property
    def pool(self) -> ModelPool:
        """The loaded models; its registry is read on first use."""
        return self.models.pool

    def reload(self) -> None:
        """Read the registry and find the skills again; loaded models are freed.

        Raises:
            RegistryError: the application is unchanged.
        """
        found = self.models.read()
        self.discovery.forget()
        self.models.use(found)
        self._discover()

    def _discover(self) -> None:
        screen = self.screen
        files = FileStore(
            lambda: self.registry.files, self.settings.cache_dir, screen.notice, screen.progress
        )
        builtins = {"backends": BuiltinBackends(), **self._plugins}
        discovery = Discovery(
            self.settings, files, self._commands, builtins, lambda *given: self.chat.use(*given)
        )
        discovery.run(bare=self._bare)
        self.discovery = discovery
        for notice in self.catalogue.notices():
            self.screen.notice(notice)

    def _commands(self) -> object:
        from harness.cli.commands.plugin import Commands

        return Commands(self)

    def dispatch(
        self,
        line: str,
        *,
        frontend: Frontend | None = None,
        console: Screen | None = None,
        cancel: threading.Event | None = None,
        progress: OnProgress | None = None,
    ) -> Outcome:
        """Run one line and return its outcome.

        Args:
            frontend: who enters the line and can confirm; default: that of the application.
            console: where results and notices go; default: that of the application.
            cancel: an event that another thread sets to stop the run.
            progress: receives the progress of the run, in any thread, whatever `console` is.

        Raises:
            HarnessError: with its exit code; the run is closed in the log.
        """
        caller = self.caller.replaced(frontend, console, cancel, progress)
        with self._callers.calling(caller):
            return guarded(line, lambda: self._dispatch(line))

    def run(self, invocation: Invocation) -> Outcome:
        """Run an invocation that a script has made of its arguments. Raises as `dispatch`."""

        def work() -> Outcome:
            from harness.runs.invocation import render_line

            skill = self._skill(invocation.name, trusted=invocation.general.trust)
            line = render_line(skill, invocation)
            return self._run(skill, invocation, line, Run())

        return guarded("", work)

    def run_called(
        self,
        invocation: Invocation,
        line: str,
        caller: Caller | None = None,
        run: Run | None = None,
    ) -> Outcome:
        """Run an invocation of a model, with the general options of the user's own line.

        It cannot read stdin or write to stdout, and needs consent before it changes anything.
        Raises as `dispatch`, and NotAllowed if the user refuses. `run` gets the row of the run log.
        """
        skill = self.catalogue.skills[invocation.name].skill
        given = replace(invocation, general=self.current_general or invocation.general)
        with self._callers.calling((caller or self.caller).for_model()):
            return guarded(line, lambda: self._run(skill, given, line, run or Run()))

    def _dispatch(self, line: str) -> Outcome:
        from harness.cli import intent
        from harness.runs import grammar

        before, rest = grammar.split_options(line)
        general = {**self.general, **before}
        typed = grammar.split_command(rest)
        name, rest = typed or intent.command_for(self, line)
        trusted = bool(general.get("trust")) or grammar.trusts(rest)
        skill = self._skill(name, trusted=trusted)
        if typed:
            self.catalogue.check_for_users(name)
        invocation = grammar.parse(skill, rest, general)
        if not typed and self.frontend.stdin is not None and intent.converses(self, skill):
            invocation = replace(invocation, joins_stdin=True)
        try:
            return self._run(skill, invocation, line, Run())
        except ModelUnavailable as exc:
            offer = "" if typed else intent.offer(self, line)
            if not offer:
                raise
            if (confirm := self.frontend.confirm) is None:
                hint = f"This works without one: {in_shell(offer)}\n{exc.hint}"
                raise ModelUnavailable(exc.message, where=exc.where, hint=hint) from exc
            self.screen.notice(f"{exc.message}.")
            if not confirm(f"Run {offer[:OFFERED]} instead?"):
                raise
            return self._dispatch(offer)

    def _run(self, skill: Skill, invocation: Invocation, line: str, run: Run) -> Outcome:
        from harness.runs.runner import Runner

        caller, general = self.caller, invocation.general
        if invocation.help:
            topic = f"{skill.name} {invocation.subcommand}".rstrip()
            return self._dispatch(f"/help {'--json ' * general.as_json}{topic}")
        self.use_registry(general.registry)
        if not caller.frontend.is_model:
            off = {"as_json": False, "trust": False}
            self._callers.general = general.model_copy(update=off)
        services = self.models.settings, caller, self.run_log, self.pool, self.catalogue
        outcome = Runner(*services, skill, invocation, line, run).run_skill()
        if caller.frontend.name == "repl" and skill.logged and skill.tool:
            self.conversation.add_command(line, outcome)
        return outcome

    def close(self) -> None:
        """Free the loaded models, and stop the servers of mcp.json."""
        self.stop_servers()
        self.models.close()

    def stop_servers(self, seconds: float = 5.0) -> None:
        """Stop the servers of mcp.json that were started; those that take longer are killed."""
        if "mcp_servers" in self.__dict__:
            self.mcp_servers.close(seconds)

    def _skill(self, name: str, *, trusted: bool) -> Skill:
        from harness.cli.trust_question import skill_named

        return skill_named(self.discovery, name, self.frontend.confirm, trusted=trusted)

    def use_registry(self, path: Path | None) -> None:
        """Switch to the registry of this line, if it differs from that of the last one."""
        if path != self.models.path:
            with self.models.switched(path):
                self.reload()
