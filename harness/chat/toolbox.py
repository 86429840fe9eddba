"""The tools that a model may call in a chat, and the selection of tools for a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.api.hookspecs import ToolFinished, ToolHook, ToolStarted
from harness.chat.tool_calls import arguments_of, compact, error_content, log_failure
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.models.backend import Tool, ToolCall
from harness.permissions import in_one_line
from harness.runs.frontend import print_error
from harness.runs.run_log import Run
from harness.support import traces
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.cli.app import App

BARE, DETAILS, OPTIONS, ALL = range(4)
"""Levels of detail of a tool. BARE has a short description and only the required options. DETAILS
adds longer descriptions, OPTIONS adds the other options, and ALL adds the descriptions of the other
options. A tool may be the same at two levels.
"""
MOST = 128
"""Maximum number of tools of a request; servers refuse more."""
SHOWN = 160
"""Maximum number of characters of a call that are shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a tool call.

    Attributes:
        content: the message for the model, a JSON object.
        tool: the name of the called tool; "" if there is no tool with this name.
        line: the line that is shown for the call; "" if the call is invalid.
        code: the exit code of the call.
    """

    content: str
    tool: str
    line: str
    code: int


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call whose arguments are valid.

    Attributes:
        line: the line that is shown and recorded.
        run: does the work, records it in the run log, and returns the message for the model and the
            exit code.
    """

    line: str
    run: Callable[[Screen, Run], tuple[str, int]]


class Described(Protocol):
    """A tool that can be offered at several levels of detail.

    Attributes:
        name: the name, which is unique among the tools that are offered.
    """

    @property
    def name(self) -> str: ...

    def described(self, level: int) -> Tool:
        """Return the name, description and parameters at a level of detail."""


class ChatTool(Described, Protocol):
    """A tool that the model may call in a conversation."""

    def prepared(self, call: ToolCall) -> PreparedCall:
        """Return a call of this tool after checking its arguments.

        Raises:
            UsageError: the arguments are invalid.
        """


def offered(tools: Iterable[Described], room: int) -> tuple[Tool, ...]:
    """Return at most `MOST` tools that together fit into `room` bytes of a request.

    First, the tools are added in order at the lowest level of detail. A tool that does not fit is
    left out. Then the added tools get the next level in order, as far as `room` permits, and so on.
    """
    candidates = [*tools][:MOST]
    chosen: dict[str, Tool] = {}
    for level in (BARE, DETAILS, OPTIONS, ALL):
        for tool in candidates:
            if level > BARE and tool.name not in chosen:
                continue
            described = tool.described(level)
            needed = size(described) - (size(chosen[tool.name]) if tool.name in chosen else 0)
            if needed <= room:
                chosen[tool.name], room = described, room - needed
    return tuple(chosen.values())


def size(tool: Tool) -> int:
    """Return the approximate size of a tool in a request, in bytes."""
    text = f"{tool.name}{tool.description}{json.dumps(dict(tool.parameters))}"
    return len(text.encode()) + 60


class Toolbox:
    """The tools of several sources; tools of earlier sources are preferred.

    Args:
        app: the application with the MCP servers and the run log.
        sources: functions that return tools, called at each use, since skills may be reloaded. Of
            two tools with the same name, the first is used.
        hooks: calls the hooks before or after a call, and returns their notes for the model.
    """

    def __init__(
        self,
        app: App,
        sources: Sequence[Callable[[], Iterable[ChatTool]]],
        hooks: Callable[[ToolHook, ToolStarted, Screen], list[str]],
    ) -> None:
        self._app, self._sources, self._hooks = app, sources, hooks

    def tools(self, room: int) -> tuple[Tool, ...]:
        """Return the tools to offer to a model, which together fit into `room` bytes.

        All tools of MCP servers are offered if they need at most half of `room`, if the other tools
        fit as well, and if there are at most `MOST` tools. Otherwise, the model is offered a search
        tool, and the server tools that its searches have found, in at most half of `room`.
        """
        own = [*self._own.values()]
        servers = self._app.mcp_servers
        more = servers.tools()
        if not more:
            return offered(own, room)
        whole = sum(size(tool.described(ALL)) for tool in more)
        left = room - sum(size(tool.described(BARE)) for tool in own)
        if whole <= min(room // 2, left) and len(own) + len(more) <= MOST:
            return offered([*own, *more], room)
        search, *found = servers.searched()
        own = own[: MOST - 1]
        found = found[: MOST - 1 - len(own)]
        kept = {tool.name for tool in offered(found, room // 2)}
        return offered([search, *(tool for tool in found if tool.name in kept), *own], room)

    def left_out(self, tools: Sequence[Tool]) -> list[str]:
        """Return the sorted names of the tools that `tools` lacks, without MCP servers' tools."""
        return sorted(self._own.keys() - {tool.name for tool in tools})

    def call(self, call: ToolCall, screen: Screen) -> Answer:
        """Run a tool call, show its line on `screen`, and return the answer for the model.

        Errors that are not listed below are part of the answer.

        Raises:
            Interrupted: the call was interrupted.
            ReaderGone: the reader of stdout has closed it.
            InternalError: the harness itself failed.
        """
        with traces.tool(call) as traced:
            answer = self._call(call, screen)
            traced.answered(answer.content, answer.code)
            return answer

    def _call(self, call: ToolCall, screen: Screen) -> Answer:
        tools, run, line = self._tools, Run(), ""
        tool = call.name if call.name in tools else ""
        try:
            if not tool:
                # names of MCP servers' tools are left out, since there may be hundreds
                known = [name for name in tools if "__" not in name]
                raise UsageError(
                    f"there is no tool {call.name!r}", hint=f"Tools: {', '.join(known)}."
                )
            prepared = tools[tool].prepared(call)
            line = prepared.line
            screen.begin_call(tool, in_one_line(line, SHOWN))
            started = ToolStarted(tool, arguments_of(call), line)
            notes = self._hooks("before_tool", started, screen)
            content, code = prepared.run(screen, run)
            finished = ToolFinished(tool, started.arguments, line, content, code)
            notes += self._hooks("after_tool", finished, screen)
            if notes:
                content = compact({**json.loads(content), "notes": notes})
        except HarnessError as error:
            if not line:
                screen.notice(f"-> {in_one_line(call.name, SHOWN)}: not run")
            if run.id is None:
                given = line or f"{call.name} {call.arguments}"
                log_failure(self._app, run, call.name, given, error)
            if isinstance(error, (Interrupted, ReaderGone, InternalError)):
                raise
            print_error(error, screen)
            content, code = error_content(error), error.exit_code
        if line:
            screen.end_call(content, failed=bool(code))
        return Answer(content, tool, line, code)

    @property
    def _tools(self) -> dict[str, ChatTool]:
        servers = self._app.mcp_servers
        if not (more := servers.tools()):
            return self._own
        search, *_ = servers.searched()
        return {search.name: search, **{tool.name: tool for tool in more}, **self._own}

    @property
    def _own(self) -> dict[str, ChatTool]:
        found: dict[str, ChatTool] = {}
        for source in self._sources:
            for tool in source():
                found.setdefault(tool.name, tool)
        return found
