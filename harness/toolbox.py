"""The skills in a model's hands: which there are, and what comes of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness import guard, tool_result
from harness.backends.base import Tool, ToolCall
from harness.catalogue import Catalogue
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.execution import Outcome
from harness.presentation import print_error, tell
from harness.screen import Screen
from harness.tool_line import line_of
from harness.tool_schema import tools_of

LINE = 160
"""Characters of a line that are shown."""


class Runner(Protocol):
    """What runs lines: `harness.app.App`."""

    @property
    def catalogue(self) -> Catalogue: ...

    def dispatch_called(self, line: str) -> Outcome:
        """Run a line that a model made."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        content: what the model is told, a JSON object.
        line: what was run; "" where the call amounts to no line.
        code: its exit code.
    """

    content: str
    line: str
    code: int


class Toolbox:
    """The skills of a `Runner`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def tools(self, characters: int) -> tuple[Tool, ...]:
        """What a model is told of the skills it may call, in so many characters."""
        return tools_of((f.skill for f in self._runner.catalogue.skills.values()), characters)

    def call(self, asked: ToolCall, screen: Screen) -> Answer:
        """Run what `asked` amounts to, show what is run, and give the answer for the model.

        Raises:
            Interrupted: the skill was stopped.
            ReaderGone: nobody reads the output any more.
            InternalError: the harness itself broke.
        """
        line = ""
        try:
            line = self._line(asked)
            screen.notice(f"-> {guard.in_one_line(line, LINE)}")
            outcome = self._runner.dispatch_called(line)
            content = tool_result.of_outcome(outcome)
        except (Interrupted, ReaderGone, InternalError):
            raise
        except HarnessError as error:
            if not line:
                screen.notice(f"-> {guard.in_one_line(asked.name, LINE)}: not run")
            print_error(error, screen)
            return Answer(tool_result.of_error(error), line, error.exit_code)
        tell(outcome, screen)
        if isinstance(outcome.result.stopped, (Interrupted, ReaderGone)):
            raise outcome.result.stopped
        return Answer(content, line, outcome.result.code)

    def _line(self, asked: ToolCall) -> str:
        known = self._runner.catalogue.skills
        if asked.name not in known or not known[asked.name].skill.tool:
            names = ", ".join(name for name, found in known.items() if found.skill.tool)
            raise UsageError(f"there is no tool {asked.name!r}", hint=f"There are {names}.")
        return line_of(known[asked.name].skill, asked)
