"""The built-in tools as tools of the chat model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.api.options import schema_of
from harness.chat import tool_result
from harness.chat.sources.call_log import Host, logged
from harness.chat.tool_call import arguments_of
from harness.chat.tool_loop import CURRENT
from harness.chat.tool_schema import plain_parameters
from harness.chat.tools import ALL, DETAILS, OPTIONS, PreparedCall
from harness.errors import UsageError
from harness.models.backends.base import Tool, ToolCall
from harness.support.stopping.stop_token import StopToken
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.tools.base import Arguments, BuiltinTool

VALUE = 80
"""Characters of an invalid value that are shown."""


class BuiltinTools:
    """A source of the built-in tools, for a toolbox."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self) -> Sequence[OfferedTool]:
        """Return the tools."""
        return self._tools

    @cached_property
    def _tools(self) -> tuple[OfferedTool, ...]:
        from harness.tools.asking import AskUser
        from harness.tools.reading import ListFiles, ReadFile
        from harness.tools.running import Run as RunTool
        from harness.tools.searching import SearchFiles
        from harness.tools.writing import WriteFile

        tools: list[BuiltinTool] = [ReadFile(), ListFiles(), SearchFiles(), WriteFile(), AskUser()]
        if os.name == "posix":  # elsewhere there are no process groups
            tools.insert(4, RunTool())
        return tuple(OfferedTool(tool, self._host) for tool in tools)


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A built-in tool in a chat."""

    tool: BuiltinTool
    host: Host

    @property
    def name(self) -> str:
        return self.tool.name

    def described(self, level: int) -> Tool:
        schema = schema_of(self.tool.Arguments)
        required = schema.get("required", [])
        properties = {
            key: about
            for key, about in plain_parameters(schema, described=level >= ALL).items()
            if key in required or level >= OPTIONS
        }
        parameters = {"type": "object", "properties": properties, "required": required}
        summary = self.tool.summary if level >= DETAILS else self.tool.summary.partition(";")[0]
        return Tool(self.name, summary, parameters)

    def prepared(self, call: ToolCall) -> PreparedCall:
        try:
            given = self.tool.Arguments.model_validate(arguments_of(call))
        except ValidationError as exc:
            raise UsageError(_explained(exc)) from exc
        line = f"{self.name} {self.tool.shown(given)}"
        return PreparedCall(line, partial(self._run, given, line))

    def _run(self, given: Arguments, line: str, screen: Screen) -> tuple[str, int]:
        """Run a call with its row in the run log."""
        from harness.tools.base import Workplace

        host = self.host
        options = given.model_dump(mode="json", exclude_defaults=True)
        with logged(host, self.name, line, options) as run:
            cancel, turn = StopToken(host.caller.cancel), CURRENT.get()
            skills = turn.skills.folders if turn else {}
            asked = host.caller.frontend
            place = Workplace(host.permissions, asked, screen, skills, run=run, cancel=cancel)
            return tool_result.compact(dict(self.tool.call(given, place))), 0


def _explained(exc: ValidationError) -> str:
    """Return what is wrong with arguments, in terms of the parameters."""
    messages = []
    for error in exc.errors(include_url=False):
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "missing":
            messages.append(f"{name} is required")
        elif error["type"] == "extra_forbidden":
            messages.append(f"there is no parameter {name[:VALUE]!r}")
        else:
            reason = error["msg"].removeprefix("Input ")
            messages.append(f"{name}: {repr(error['input'])[:VALUE]} {reason}")
    return "; ".join(messages)
