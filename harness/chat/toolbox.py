"""Skills that a model may call, and the execution of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.api.skill import Skill
from harness.chat import tool_result
from harness.chat.tool_call import invocation_of
from harness.chat.tool_schema import tools_of
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.models.backends.base import Tool, ToolCall
from harness.plugins.catalogue import Catalogue
from harness.runs import consent
from harness.runs.frontend import Outcome
from harness.runs.invocation import Invocation, render_line
from harness.runs.render import print_error, show_saved
from harness.terminal.console import Screen

LINE = 160
"""Characters of a line that are shown."""


class Dispatcher(Protocol):
    """Runs invocations for a model; implemented by `harness.cli.app.App`."""

    @property
    def catalogue(self) -> Catalogue: ...

    def run_called(self, invocation: Invocation, line: str) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a tool call.

    Attributes:
        content: the message for the model, a JSON object.
        skill: the skill that was called; "" if there is no such skill.
        line: the line shown for the call; "" if its arguments are invalid.
        code: exit code.
    """

    content: str
    skill: str
    line: str
    code: int


class Toolbox:
    """The skills of a `Dispatcher` as tools."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def tools(self, size: int) -> tuple[Tool, ...]:
        """Return the tools for a model, within a size in bytes."""
        return tools_of(self._skills.values(), size)

    def left_out(self, tools: Sequence[Tool]) -> list[str]:
        """Return the callable skills that are not among `tools`."""
        return sorted(self._skills.keys() - {tool.name for tool in tools})

    def call(self, call: ToolCall, screen: Screen) -> Answer:
        """Run a tool call, show its line, and return the answer for the model.

        Raises:
            Interrupted: the skill was interrupted.
            ReaderGone: stdout is closed by its reader.
            InternalError: the harness itself failed.
        """
        line = ""
        try:
            skill = self._skill(call.name)
            invocation = invocation_of(skill, call)
            line = render_line(skill, invocation)
            screen.notice(f"-> {consent.in_one_line(line, LINE)}")
            outcome = self._dispatcher.run_called(invocation, line)
            content = tool_result.of_outcome(outcome)
        except (Interrupted, ReaderGone, InternalError):
            raise
        except HarnessError as error:
            if not line:
                screen.notice(f"-> {consent.in_one_line(call.name, LINE)}: not run")
            print_error(error, screen)
            name = call.name if call.name in self._skills else ""
            return Answer(tool_result.of_error(error), name, line, error.exit_code)
        show_saved(outcome, screen)
        if isinstance(outcome.result.stopped, (Interrupted, ReaderGone)):
            raise outcome.result.stopped
        return Answer(content, call.name, line, outcome.result.code)

    @property
    def _skills(self) -> dict[str, Skill]:
        known = self._dispatcher.catalogue.skills.items()
        return {name: found.skill for name, found in known if found.skill.tool}

    def _skill(self, name: str) -> Skill:
        if name not in self._skills:
            hint = f"There are {', '.join(self._skills)}."
            raise UsageError(f"there is no tool {name!r}", hint=hint)
        return self._skills[name]
