"""The application, which dispatches lines to skills.

All frontends use `App.dispatch`, which returns an `Outcome` or raises an error of `harness.errors`.
In both cases, the run is closed in the run log. Modules that only a run needs are imported when a
line runs, so that the first prompt appears quickly.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.cli.services import Services
from harness.errors import ModelUnavailable, NotTrusted, UsageError
from harness.runs.frontend import Caller, Frontend, Outcome, guarded, in_shell
from harness.runs.run_log import Run
from harness.terminal.console import OnProgress, Screen

if TYPE_CHECKING:
    from harness.api.skill import Skill
    from harness.runs.invocation import Invocation

OFFERED = 100
"""Maximum number of characters that a question shows of an offered line."""


class App(Services):
    """An application, which runs lines for all frontends.

    Args:
        general: general options given before the line, by key.
        plugins: additional plugin objects to load, by name.
        bare: True to load only the framework's own commands, for lines that must work even if a
            plugin fails.
    """

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
            HarnessError: the line failed; the run is closed in the log.
        """
        screen = console or self.screen
        if progress is not None:
            screen = screen.like(on_progress=progress)
        caller = Caller(frontend or self.frontend, screen, cancel or self.caller.cancel)
        with self._calling(caller):
            return guarded(line, lambda: self._dispatch(line))

    def run(self, invocation: Invocation) -> Outcome:
        """Run the invocation that a script makes from its arguments; see `dispatch` for errors."""

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

        The run cannot read stdin or write to stdout. Changes, and reading outside of the project,
        need the user's consent.

        Args:
            run: the row of the run in the run log.

        Raises:
            NotAllowed: the user refuses.
            HarnessError: raised by `dispatch`.
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
        """Run the skill that plain text requests, or else a turn of chat."""
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
        """Return a skill; ask the user to trust a project's plugin that is not trusted yet.

        Args:
            trusted: True if the line has `--trust`.

        Raises:
            UnknownSkill: there is no skill with this name.
            NotTrusted: the skill is in a plugin of the project that the user does not trust.
            UsageError: the plugin does not register a skill with this name.
        """
        if name in self.catalogue.skills:
            return self.catalogue.skills[name].skill
        if name not in self.catalogue.untrusted:
            raise self.catalogue.unknown(name)
        from harness.plugins.user_choices import content_hash

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

    def _commands(self) -> object:
        return FrameworkCommands(self)


class FrameworkCommands:
    """The plugin with the framework's own commands."""

    def __init__(self, app: App) -> None:
        self._app = app

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        from harness.cli.help_command import Help
        from harness.cli.mcp_command import McpCommand
        from harness.cli.models_command import ModelCommand, ModelsCommand
        from harness.cli.new_skill_command import NewSkill
        from harness.cli.session_commands import (
            Clear,
            Compact,
            Exit,
            Logs,
            PermissionsCommand,
            Quit,
            Reload,
            Resume,
            Sessions,
        )
        from harness.cli.skills_command import Skills

        commands = (
            *(Help, Skills, NewSkill, ModelsCommand, ModelCommand, McpCommand, Reload, Logs),
            *(PermissionsCommand, Sessions, Resume, Compact, Clear, Exit, Quit),
        )
        for command in commands:
            register(command(self._app))
        register(self._app.chat)
