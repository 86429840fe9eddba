"""The application, which holds settings, models, skills and the run log, and runs lines.

`App.dispatch` runs a line, and returns an `Outcome` or raises an error of `harness.errors`. In both
cases, the run log records the end of a logged run. Modules that only a run needs are imported when
a line runs, so that the first prompt of a session appears quickly.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.errors import ModelUnavailable, NotTrusted, RegistryError, UsageError
from harness.models.pool import ModelPool, Resolution
from harness.models.weights import FileStore
from harness.plugins.catalogue import Catalogue
from harness.plugins.discovery import Discovery
from harness.runs.frontend import Caller, Frontend, Outcome, guarded, in_shell
from harness.runs.run_log import Run, RunLog
from harness.settings import Settings
from harness.support.process import remove_left_over
from harness.support.text_input import at_home
from harness.terminal.console import OnProgress, Screen

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.api.skill import Skill
    from harness.chat.chat_skill import Chat
    from harness.chat.conversation import Conversation
    from harness.chat.toolbox import Toolbox
    from harness.mcp.client import Servers
    from harness.models.registry import Registry
    from harness.permissions import Permissions
    from harness.runs.invocation import Invocation

OFFERED = 100
"""Maximum number of characters of the line from `intent.offer` in a question to the user."""


def _remove_left_over(settings: Settings) -> None:
    """Remove the temporary files and folders of killed processes."""
    import tempfile

    for folder in (settings.cache_dir, settings.data_dir, settings.config_dir, settings.own_skills):
        remove_left_over(folder, "*.tmp")
    remove_left_over(settings.cache_dir / "models", "fetch-*")
    remove_left_over(Path(tempfile.gettempdir()), "nanda-*")


class App:
    """An application, which runs lines for all frontends.

    Args:
        frontend: the frontend of lines that are dispatched without another frontend.
        screen: the output of these lines; by default, stdout and stderr.
        general: general options given before the line, by key.
        plugins: additional plugin objects to load, by name.
        bare: True to load only the harness's own commands and backends, and `plugins`, for lines
            that must work even if a plugin fails.

    Attributes:
        preferred: the models chosen with /model, by task.
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
        self._caller = Caller(frontend, screen or Screen())
        self._thread = threading.local()
        self.general = dict(general or {})
        self._plugins = dict(plugins or {})
        self._bare = bare
        clean = partial(_remove_left_over, settings)
        self.run_log = RunLog(settings.run_log, self.screen.notice, clean)
        path = self.general.get("registry")
        self._registry_path = at_home(path) if path else None
        self._registry: Registry | None = None
        self._pool: ModelPool | None = None
        self.preferred: dict[str, str] = {}
        self._discover()

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
            frontend: the frontend that the line comes from, and that can ask the user; by default,
                the frontend of the application.
            console: the output for results and notices; by default, the output of the application.
            cancel: an event that another thread sets to stop the run.
            progress: called with the progress of the run, in any thread, independently of
                `console`.

        Raises:
            HarnessError: the line failed.
        """
        screen = console or self.screen
        if progress is not None:
            screen = screen.like(on_progress=progress)
        caller = Caller(frontend or self.frontend, screen, cancel or self.caller.cancel)
        with self._calling(caller):
            return guarded(line, lambda: self._dispatch(line))

    def run(self, invocation: Invocation) -> Outcome:
        """Run an invocation that a script has made, and return its outcome.

        Raises:
            HarnessError: the run failed.
        """

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
        """Run an invocation that a model requests, and return its outcome.

        If the user has entered a line, its general options replace the general options of the
        invocation. The run cannot read stdin or write to stdout. Changes, and reading outside of
        the project, need the user's consent.

        Args:
            line: the line that the run log records.
            caller: the frontend and the output; by default, the caller of the current line.
            run: the row of the run in the run log; by default, a new row.

        Raises:
            NotAllowed: the user refuses.
            HarnessError: the run failed.
        """
        skill = self.catalogue.skills[invocation.name].skill
        given = replace(invocation, general=self.current_general or invocation.general)
        run = run or Run()

        def work() -> Outcome:
            from harness.tools.builtin_tools import allow_reading

            allow_reading(self, skill, given, run)
            return self._run(skill, given, line, run)

        with self._calling((caller or self.caller).for_model()):
            return guarded(line, work)

    def _dispatch(self, line: str) -> Outcome:
        from harness.runs.invocation import parse, split_command, split_options, trusts

        before, rest = split_options(line)
        general = {**self.general, **before}
        typed = split_command(rest)
        if typed is None:
            return self._run_text(line, general)
        name, rest = typed
        skill = self._skill(name, trusted=bool(general.get("trust")) or trusts(rest))
        self.catalogue.check_for_users(name)
        return self._run(skill, parse(skill, rest, general), line, Run())

    def _run_text(self, line: str, general: Mapping[str, object]) -> Outcome:
        """Run the skill that plain text requests, or a turn of chat; return the outcome."""
        from harness.cli import intent
        from harness.runs.invocation import parse, trusts

        name, text = intent.command_for(self, line)
        skill = self._skill(name, trusted=bool(general.get("trust")) or trusts(text))
        invocation = parse(skill, text, general)
        if self.frontend.stdin is not None and intent.converses(self, skill):
            invocation = replace(invocation, joins_stdin=True)
        try:
            return self._run(skill, invocation, line, Run())
        except ModelUnavailable as exc:
            offer = intent.offer(self, line)
            if not offer:
                raise
            if (confirm := self.frontend.confirm) is None:
                hint = f"This line works without a chat model: {in_shell(offer)}\n{exc.hint}"
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
            self._thread.general = general.model_copy(update=off)
        services = self.line_settings, caller, self.run_log, self.pool, self.catalogue
        outcome = Runner(*services, skill, invocation, line, run).run_skill()
        if caller.frontend.name in ("repl", "acp") and skill.logged and skill.tool:
            self.conversation.add_command(line, outcome)
        return outcome

    def _skill(self, name: str, *, trusted: bool) -> Skill:
        """Return a skill; ask the user to trust its plugin if the plugin is not trusted yet.

        Args:
            trusted: True if the line has `--trust`, which replaces the question.

        Raises:
            UnknownSkill: there is no skill with this name.
            NotTrusted: the skill is in a plugin that the user does not trust.
            UsageError: the plugin cannot be loaded, or does not register a skill with this name.
        """
        if name in self.catalogue.skills:
            return self.catalogue.skills[name].skill
        if name not in self.catalogue.untrusted:
            raise self.catalogue.unknown(name)
        from harness.plugins.trust import content_hash

        folder, confirm = self.catalogue.untrusted[name].folder, self.frontend.confirm
        question = f"/{name} is a plugin that is not trusted yet ({folder}). Run its code?"
        shown = content_hash(folder) if confirm and not trusted else ""
        if not trusted and not (confirm and confirm(question)):
            raise NotTrusted(
                f"/{name} is a plugin that is not trusted in its current state",
                where=str(folder),
                hint=f"Read its files, then add --trust once, right after /{name}.",
            )
        self.discovery.trust(name, shown)
        if name not in self.catalogue.skills:
            raise UsageError(
                f"the plugin {name} has no skill /{name}", hint="`/skills` lists all plugins."
            )
        return self.catalogue.skills[name].skill

    @property
    def caller(self) -> Caller:
        """The caller of the line that this thread runs; without a line, the default caller."""
        return getattr(self._thread, "caller", None) or self._caller

    @contextlib.contextmanager
    def _calling(self, caller: Caller) -> Iterator[None]:
        """Make `caller` the caller of this thread within the block."""
        before = getattr(self._thread, "caller", None)
        self._thread.caller = caller
        try:
            yield
        finally:
            self._thread.caller = before

    @property
    def frontend(self) -> Frontend:
        """The frontend of `caller`; an assignment changes the frontend of the default caller."""
        return self.caller.frontend

    @frontend.setter
    def frontend(self, frontend: Frontend) -> None:
        self._caller = replace(self._caller, frontend=frontend)

    @property
    def screen(self) -> Screen:
        """The output of `caller`; an assignment changes the output of the default caller."""
        return self.caller.screen

    @screen.setter
    def screen(self, screen: Screen) -> None:
        self._caller = replace(self._caller, screen=screen)

    @property
    def current_general(self) -> GeneralOptions | None:
        """The general options of the user's last line in this thread; None before any line."""
        return getattr(self._thread, "general", None)

    @cached_property
    def toolbox(self) -> Toolbox:
        """The tools of the chat model; in a small context, the first tools have the most detail."""
        from harness.chat.active_skills import activation
        from harness.chat.skill_tools import skill_tools
        from harness.chat.toolbox import Toolbox
        from harness.tools.builtin_tools import AskUser
        from harness.tools.file_tools import ListFiles, ReadFile, SearchFiles, WriteFile
        from harness.tools.run_command import Run as RunCommand
        from harness.tools.tool_hooks import ToolHooks

        # other systems than POSIX do not have process groups
        commands = [RunCommand(self)] if os.name == "posix" else []
        files = ReadFile(self), ListFiles(self), SearchFiles(self), WriteFile(self)
        builtin = [*files, *commands, AskUser(self)]
        shipped, others = partial(skill_tools, self, True), partial(skill_tools, self, False)
        hooks = ToolHooks(self.settings, lambda: self.catalogue.listeners, lambda: self.caller)
        return Toolbox(
            self, [partial(activation, self), shipped, lambda: builtin, others], hooks.run
        )

    @cached_property
    def mcp_servers(self) -> Servers:
        """The servers of mcp.json, which are started on first use."""
        from harness.mcp.client import Servers

        return Servers(self)

    @cached_property
    def conversation(self) -> Conversation:
        """The conversation of the chat and of prompt skills; a frontend may replace it."""
        from harness.chat.conversation import Conversation

        return Conversation.of(self.settings, lambda text: self.screen.notice(text))

    @cached_property
    def chat(self) -> Chat:
        """The skill /chat."""
        from harness.chat.chat_skill import Chat

        return Chat(self)

    @property
    def permissions(self) -> Permissions:
        """The permissions that the user of the current line gives to models."""
        from harness.permissions import Permissions

        asked, general = self.frontend, self.current_general
        yes = general is not None and general.yes
        return Permissions(self.line_settings, asked.choose, asked.confirm, yes=yes)

    @property
    def catalogue(self) -> Catalogue:
        return self.discovery.catalogue

    @property
    def line_settings(self) -> Settings:
        """The settings; if the line names a registry file, `user_registry` is this file."""
        if self._registry_path is None:
            return self.settings
        return replace(self.settings, user_registry=self._registry_path, registry_required=True)

    @property
    def registry(self) -> Registry:
        """The registry, read on first use.

        Raises:
            RegistryError: the registry cannot be used.
        """
        if self._registry is None:
            self._registry = self._read_registry()
        return self._registry

    def _read_registry(self) -> Registry:
        from harness.models.registry import load

        settings, user = self.line_settings, self.line_settings.user_registry
        if settings.registry_required and not user.is_file():
            raise RegistryError("there is no such registry file", where=str(user))

        def leave_out(error: RegistryError) -> None:
            self.screen.notice(f"registered model left out: {error}")

        return load(settings.shipped_registry, user, left_out=leave_out)

    @property
    def pool(self) -> ModelPool:
        """The pool of loaded models, which reads the registry on first use."""
        if self._pool is None:
            backends = self.catalogue.backends
            self._pool = ModelPool(lambda: self.registry, backends, self.preferred)
        return self._pool

    @property
    def last_resolution(self) -> Resolution | None:
        """The resolution of the model that was used last; None if no model was used."""
        return self._pool.last if self._pool is not None else None

    def reload(self) -> None:
        """Read the registry and find the skills again, and free the loaded models.

        Raises:
            RegistryError: the registry cannot be used; the application is unchanged.
        """
        found = self._read_registry()
        self.discovery.forget()
        self._free_models()
        self._registry = found
        self._discover()

    def use_registry(self, path: Path | None) -> None:
        """Switch to the registry of a line (`--registry`), if it differs from the previous line's.

        Args:
            path: the registry file; None for the registry of the settings.

        Raises:
            RegistryError: the registry cannot be used; the application is unchanged.
        """
        if path == self._registry_path:
            return
        before, self._registry_path = self._registry_path, path
        try:
            self.reload()
        except RegistryError:
            self._registry_path = before
            raise

    def _free_models(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _discover(self) -> None:
        screen = self.screen
        files = FileStore(
            lambda: self.registry.files, self.settings.cache_dir, screen.notice, screen.progress
        )
        discovery = Discovery(
            self.settings,
            files,
            partial(FrameworkCommands, self),
            self._plugins,
            lambda *given: self.chat.use(*given),
        )
        discovery.run(bare=self._bare)
        self.discovery = discovery
        for notice in self.catalogue.notices():
            self.screen.notice(notice)

    def close(self) -> None:
        """Free the loaded models, and stop the servers of mcp.json."""
        self.stop_servers()
        self._free_models()

    def stop_servers(self, seconds: float = 5.0) -> None:
        """Stop the servers of mcp.json; servers that need more than `seconds` are killed."""
        if "mcp_servers" in self.__dict__:
            self.mcp_servers.close(seconds)


class FrameworkCommands:
    """The plugin with the harness's own commands."""

    def __init__(self, app: App) -> None:
        self._app = app

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        from harness.cli import session_commands
        from harness.cli.help_command import Help
        from harness.cli.mcp_command import McpCommand
        from harness.cli.models_command import ModelCommand, ModelsCommand
        from harness.cli.new_skill_command import NewSkill
        from harness.cli.skills_command import Skills

        commands = Help, Skills, NewSkill, ModelsCommand, ModelCommand, McpCommand
        for command in (*commands, *session_commands.COMMANDS):
            register(command(self._app))
        register(self._app.chat)
