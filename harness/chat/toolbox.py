"""The skills in a model's hands: which there are, and what comes of a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.api.skill import Skill
from harness.chat import tool_result
from harness.chat.tool_call import line_of
from harness.chat.tool_schema import tools_of
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.models.backends.base import Tool, ToolCall
from harness.plugins.catalogue import Catalogue
from harness.runs import consent
from harness.runs.render import print_error, tell
from harness.runs.runner import Outcome
from harness.terminal.console import Screen

LINE = 160
"""Characters of a line that are shown."""


class Runner(Protocol):
    """What runs lines: `harness.cli.app.App`."""

    @property
    def catalogue(self) -> Catalogue: ...

    def dispatch_called(self, line: str) -> Outcome:
        """Run a line that a model made."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        content: what the model is told, a JSON object.
        skill: what was called; "" where there is no such skill.
        line: what was run; "" where the call amounts to no line.
        code: its exit code.
    """

    content: str
    skill: str
    line: str
    code: int


class Toolbox:
    """The skills of a `Runner`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def tools(self, characters: int) -> tuple[Tool, ...]:
        """What a model is told of the skills it may call, in so many characters."""
        return tools_of(self._skills.values(), characters)

    def left_out(self, told: Sequence[Tool]) -> list[str]:
        """The skills that a model may call and is not told of, for want of room."""
        return sorted(self._skills.keys() - {tool.name for tool in told})

    def call(self, asked: ToolCall, screen: Screen) -> Answer:
        """Run what `asked` amounts to, show what is run, and give the answer for the model.

        Raises:
            Interrupted: the skill was stopped.
            ReaderGone: nobody reads the output any more.
            InternalError: the harness itself broke.
        """
        line = ""
        try:
            line = line_of(self._called(asked.name), asked)
            screen.notice(f"-> {consent.in_one_line(line, LINE)}")
            outcome = self._runner.dispatch_called(line)
            content = tool_result.of_outcome(outcome)
        except (Interrupted, ReaderGone, InternalError):
            raise
        except HarnessError as error:
            if not line:
                screen.notice(f"-> {consent.in_one_line(asked.name, LINE)}: not run")
            print_error(error, screen)
            skill = asked.name if asked.name in self._skills else ""
            return Answer(tool_result.of_error(error), skill, line, error.exit_code)
        tell(outcome, screen)
        if isinstance(outcome.result.stopped, (Interrupted, ReaderGone)):
            raise outcome.result.stopped
        return Answer(content, asked.name, line, outcome.result.code)

    @property
    def _skills(self) -> dict[str, Skill]:
        """Those that a model may call, by name."""
        known = self._runner.catalogue.skills.items()
        return {name: found.skill for name, found in known if found.skill.tool}

    def _called(self, name: str) -> Skill:
        if name not in self._skills:
            hint = f"There are {', '.join(self._skills)}."
            raise UsageError(f"there is no tool {name!r}", hint=hint)
        return self._skills[name]
