"""All tools of a chat, from several sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.chat import tool_result
from harness.chat.tools import Answer, ChatTool, offered
from harness.errors import UsageError
from harness.models.backends.base import Tool, ToolCall
from harness.runs import consent
from harness.runs.render import print_error
from harness.terminal.console import Screen

NAME = 160
"""Characters of an unknown name that are shown."""


class Toolbox:
    """The tools of several sources, those of the first ones preferred.

    Args:
        sources: functions that return tools, called at each use, since skills may be reloaded. Of
            two tools with the same name, the first one counts.
    """

    def __init__(self, sources: Sequence[Callable[[], Iterable[ChatTool]]]) -> None:
        self._sources = sources

    def tools(self, size: int) -> tuple[Tool, ...]:
        """Return the tools for a model, within a size in bytes."""
        return offered(self._tools.values(), size)

    def left_out(self, tools: Sequence[Tool]) -> list[str]:
        """Return the names of the tools that are not among `tools`."""
        return sorted(self._tools.keys() - {tool.name for tool in tools})

    def call(self, call: ToolCall, screen: Screen) -> Answer:
        """Run a tool call; raises as `ChatTool.call`."""
        tools = self._tools
        if call.name in tools:
            return tools[call.name].call(call, screen)
        error = UsageError(f"there is no tool {call.name!r}", hint=f"There are {', '.join(tools)}.")
        screen.notice(f"-> {consent.in_one_line(call.name, NAME)}: not run")
        print_error(error, screen)
        return Answer(tool_result.of_error(error), "", "", error.exit_code)

    @property
    def _tools(self) -> dict[str, ChatTool]:
        found: dict[str, ChatTool] = {}
        for source in self._sources:
            for tool in source():
                found.setdefault(tool.name, tool)
        return found
