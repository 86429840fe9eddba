"""A skill as a tool of the chat model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from harness.api.skill import Skill
from harness.chat import tool_result
from harness.chat.sources.call_log import Host, failures_logged
from harness.chat.tool_call import invocation_of
from harness.chat.tool_schema import tool_of
from harness.chat.tools import PreparedCall
from harness.errors import Interrupted, ReaderGone
from harness.models.backends.base import Tool, ToolCall
from harness.plugins.catalogue import BUILT_IN, Catalogue
from harness.runs.frontend import Outcome
from harness.runs.invocation import Invocation, render_line
from harness.runs.render import show_saved
from harness.runs.run_log import Run
from harness.terminal.console import Screen


class Dispatcher(Host, Protocol):
    """Runs invocations for a model; implemented by `harness.cli.app.App`."""

    @property
    def catalogue(self) -> Catalogue: ...

    def run_called(self, invocation: Invocation, line: str, *, run: Run) -> Outcome: ...


def skill_tools(dispatcher: Dispatcher, shipped: bool) -> Iterator[SkillTool]:
    """Yield the skills that a model may call: the shipped ones, or all others."""
    for found in dispatcher.catalogue.skills.values():
        if (found.origin == BUILT_IN) is shipped and found.skill.tool:
            yield SkillTool(dispatcher, found.skill)


@dataclass(frozen=True, slots=True)
class SkillTool:
    """A skill, run by a dispatcher."""

    dispatcher: Dispatcher
    skill: Skill

    @property
    def name(self) -> str:
        return self.skill.name

    def described(self, level: int) -> Tool:
        return tool_of(self.skill, level)

    def prepared(self, call: ToolCall) -> PreparedCall:
        invocation = invocation_of(self.skill, call)
        line = render_line(self.skill, invocation)

        def work(screen: Screen) -> tuple[str, int]:
            run = Run()
            with failures_logged(self.dispatcher, self.name, line, run):
                outcome = self.dispatcher.run_called(invocation, line, run=run)
            return finished(outcome, tool_result.of_outcome(outcome), screen)

        return PreparedCall(line, work)


def finished(outcome: Outcome, content: str, screen: Screen) -> tuple[str, int]:
    """Return the message for the model and the exit code of a run; show what it saved.

    Raises:
        Interrupted, ReaderGone: the run was stopped.
    """
    show_saved(outcome, screen)
    if isinstance(outcome.result.stopped, (Interrupted, ReaderGone)):
        raise outcome.result.stopped
    return content, outcome.result.code
