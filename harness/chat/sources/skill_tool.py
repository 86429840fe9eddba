"""A skill as a tool of the chat model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from harness.api.skill import Skill
from harness.chat import tool_result
from harness.chat.tool_call import invocation_of
from harness.chat.tool_schema import tool_of
from harness.chat.tools import Answer
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone
from harness.models.backends.base import Tool, ToolCall
from harness.permissions.permissions import Permissions
from harness.plugins.catalogue import BUILT_IN, Catalogue
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

    @property
    def permissions(self) -> Permissions: ...

    def run_called(self, invocation: Invocation, line: str) -> Outcome: ...


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

    def call(self, call: ToolCall, screen: Screen) -> Answer:
        def invocation() -> tuple[Skill, Invocation]:
            return self.skill, invocation_of(self.skill, call)

        return run(self.dispatcher, call, screen, invocation, tool_result.of_outcome)


def run(
    dispatcher: Dispatcher,
    call: ToolCall,
    screen: Screen,
    parse: Callable[[], tuple[Skill, Invocation]],
    content: Callable[[Outcome], str],
    check: Callable[[Skill], None] = lambda skill: None,
) -> Answer:
    """Run the skill that a tool call requests; see `ChatTool.call`.

    Args:
        parse: returns the skill and its invocation, or raises UsageError.
        content: returns the message for the model.
        check: raises NotAllowed if the skill may not be used.
    """
    line = ""
    try:
        skill, invocation = parse()
        line = render_line(skill, invocation)
        screen.notice(f"-> {consent.in_one_line(line, LINE)}")
        check(skill)
        outcome = dispatcher.run_called(invocation, line)
        answer = content(outcome)
    except (Interrupted, ReaderGone, InternalError):
        raise
    except HarnessError as error:
        if not line:
            screen.notice(f"-> {consent.in_one_line(call.name, LINE)}: not run")
        print_error(error, screen)
        return Answer(tool_result.of_error(error), call.name, line, error.exit_code)
    show_saved(outcome, screen)
    if isinstance(outcome.result.stopped, (Interrupted, ReaderGone)):
        raise outcome.result.stopped
    return Answer(answer, call.name, line, outcome.result.code)
