"""The built-in tools as tools of the chat model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from harness.chat import tool_result
from harness.chat.tool_call import arguments_of
from harness.chat.tool_schema import plain_parameters
from harness.chat.tools import ALL, DETAILS, OPTIONS, Answer
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.models.backends.base import Tool, ToolCall
from harness.models.served import Usage
from harness.runs import consent
from harness.runs.render import print_error
from harness.runs.run_log import Run, RunLog, Status
from harness.support.stopping.stop_token import StopToken
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.permissions.permissions import Permissions
    from harness.runs.frontend import Caller
    from harness.tools.base import Arguments, BuiltinTool

LINE = 160
"""Characters of a call that are shown."""
VALUE = 80
"""Characters of an invalid value that are shown."""


class Host(Protocol):
    """What the tools need of an application; implemented by `harness.cli.app.App`.

    Attributes:
        run_log: log of the calls.
    """

    run_log: RunLog

    @property
    def caller(self) -> Caller:
        """Who the user's line is run for."""

    @property
    def current_general(self) -> GeneralOptions | None:
        """The general options of that line."""

    @property
    def permissions(self) -> Permissions: ...


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
        schema = self.tool.Arguments.model_json_schema()
        required = schema.get("required", [])
        properties = {
            key: about
            for key, about in plain_parameters(schema, described=level >= ALL).items()
            if key in required or level >= OPTIONS
        }
        parameters = {"type": "object", "properties": properties, "required": required}
        summary = self.tool.summary if level >= DETAILS else self.tool.summary.partition(";")[0]
        return Tool(self.name, summary, parameters)

    def call(self, call: ToolCall, screen: Screen) -> Answer:
        line = ""
        try:
            given = self._arguments(call)
            line = f"{self.name} {self.tool.shown(given)}"
            screen.notice(f"-> {consent.in_one_line(line, LINE)}")
            content = tool_result.compact(self._run(given, line, screen))
        except (Interrupted, ReaderGone, InternalError):
            raise
        except HarnessError as error:
            if not line:
                screen.notice(f"-> {consent.in_one_line(call.name, LINE)}: not run")
            print_error(error, screen)
            return Answer(tool_result.of_error(error), self.name, line, error.exit_code)
        return Answer(content, self.name, line, 0)

    def _arguments(self, call: ToolCall) -> Arguments:
        given = arguments_of(call)
        try:
            return self.tool.Arguments.model_validate(given)
        except ValidationError as exc:
            raise UsageError(_explained(exc)) from exc

    def _run(self, given: Arguments, line: str, screen: Screen) -> dict[str, Any]:
        """Run a call with its row in the run log."""
        from harness.tools.base import Workplace

        host, run = self.host, Run()
        if host.current_general is None or not host.current_general.no_log:
            options = given.model_dump(mode="json", exclude_defaults=True)
            run = host.run_log.start(
                door="model", line=line, skill=self.name, options=options, job=""
            )
        cancel = StopToken(host.caller.cancel)
        place = Workplace(host.permissions, host.caller.frontend, screen, run=run, cancel=cancel)
        try:
            result = dict(self.tool.call(given, place))
        except KeyboardInterrupt as exc:
            run.close("interrupted", Interrupted.exit_code, Usage())
            raise Interrupted("interrupted") from exc
        except HarnessError as error:
            kind, stopped = type(error).__name__, isinstance(error, Interrupted)
            status: Status = "interrupted" if stopped else "failed"
            run.close(status, error.exit_code, Usage(), error_type=kind, error=str(error))
            raise
        except Exception as exc:
            run.close("failed", 1, Usage(), error_type=type(exc).__name__, error=str(exc))
            raise InternalError(exc) from exc
        run.close("done", 0, Usage())
        return result


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
