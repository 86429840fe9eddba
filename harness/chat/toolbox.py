"""The tools that a model may call in a chat: their selection, their calls and their results.

The model receives a result as one JSON object. `shortened` cuts long results.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.api.hookspecs import ToolFinished, ToolHook, ToolStarted
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.models.backend import Tool, ToolCall
from harness.models.served import Usage
from harness.permissions import in_one_line
from harness.runs.frontend import Outcome, print_error
from harness.runs.run_log import WITHOUT_ASKING, Run, Status
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
CHARACTERS = 4000
_LIMITS = ((50, 1000), (20, 400), (8, 200), (3, 100))
"""Pairs of limits, which are tried in order until a result fits. The first limit is the number of
items of a list; an object may have twice as many items. The second limit is the number of
characters of a text.
"""
LINE = 2_000
"""Maximum number of characters of a call that `log_failure` records."""


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


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of several sources; tools of earlier sources are preferred.

    Args:
        app: the application with the MCP servers and the run log.
        sources: functions that return tools, called at each use, since skills may be reloaded. Of
            two tools with the same name, the first is used.
        hooks: calls the hooks before or after a call, and returns their notes for the model.
    """

    app: App
    sources: Sequence[Callable[[], Iterable[ChatTool]]]
    hooks: Callable[[ToolHook, ToolStarted, Screen], list[str]]

    def tools(self, room: int) -> tuple[Tool, ...]:
        """Return the tools to offer to a model, which together fit into `room` bytes.

        All tools of MCP servers are offered if they need at most half of `room`, if the other tools
        fit as well, and if there are at most `MOST` tools. Otherwise, they are replaced by a
        search tool and by the tools that its searches have found, as far as these fit into half of
        `room`.
        """
        own = [*self._own.values()]
        servers = self.app.mcp_servers
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
        tools, run, line = self._own, Run(), ""
        if more := self.app.mcp_servers.tools():
            search, *_ = self.app.mcp_servers.searched()
            tools = {search.name: search, **{tool.name: tool for tool in more}, **tools}
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
            notes = self.hooks("before_tool", started, screen)
            content, code = prepared.run(screen, run)
            finished = ToolFinished(tool, started.arguments, line, content, code)
            notes += self.hooks("after_tool", finished, screen)
            if notes:
                content = compact({**json.loads(content), "notes": notes})
        except HarnessError as error:
            if not line:
                screen.notice(f"-> {in_one_line(call.name, SHOWN)}: not run")
            if run.id is None:
                given = line or f"{call.name} {call.arguments}"
                log_failure(self.app, run, call.name, given, error)
            if isinstance(error, (Interrupted, ReaderGone, InternalError)):
                raise
            print_error(error, screen)
            content, code = error_content(error), error.exit_code
        if line:
            screen.end_call(content, failed=bool(code))
        return Answer(content, tool, line, code)

    @property
    def _own(self) -> dict[str, ChatTool]:
        found: dict[str, ChatTool] = {}
        for source in self.sources:
            for tool in source():
                found.setdefault(tool.name, tool)
        return found


def content_of(outcome: Outcome, **content: Any) -> dict[str, Any]:
    """Return `content` with the exit code, the saved files and the error of an outcome added."""
    content = {"exit_code": outcome.result.code, **content}
    if outcome.saved:
        content["saved"] = [str(path) for path in outcome.saved]
    if outcome.result.stopped is not None:
        content["error"] = str(outcome.result.stopped)
    return content


def error_content(error: HarnessError) -> str:
    """Return the exit code, message, location and hint of an error as JSON."""
    content = {"exit_code": error.exit_code, "error": error.message}
    content |= {"where": error.where} if error.where else {}
    return compact(content | ({"what_to_do": error.hint} if error.hint else {}))


def shortened(data: Any, characters: int = CHARACTERS) -> Any:
    """Return `data`, or a cut copy if the JSON of `data` has more than `characters` characters.

    In the copy, lists, objects and texts are cut; each cut states the number of omitted items or
    characters. If the JSON of the copy is still too long, the result is the beginning of this JSON.
    """
    if len(compact(data)) <= characters:
        return data
    smaller = data
    for items, letters in _LIMITS:
        smaller = _less(data, items, letters)
        if len(compact(smaller)) <= characters:
            return smaller
    text = compact(smaller)
    return f"{text[:characters]}... ({len(text) - characters:,} characters more)"


def compact(data: Any) -> str:
    """Return `data` as JSON without blanks between items."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _less(data: Any, items: int, letters: int) -> Any:
    if isinstance(data, str) and len(data) > letters:
        return f"{data[:letters]}... ({len(data) - letters:,} characters more)"
    if isinstance(data, list):
        kept = [_less(one, items, letters) for one in data[:items]]
        return [*kept, f"... ({len(data) - items:,} more)"] if len(data) > items else kept
    if isinstance(data, dict):
        few = {key: _less(data[key], items, letters) for key in [*data][: items * 2]}
        left = len(data) - len(few)
        return {**few, "...": f"{left:,} more"} if left else few
    return data


@contextlib.contextmanager
def logged(app: App, run: Run, tool: str, line: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Record a tool call in a row of the run log; the block of the `with` statement runs the call.

    The row is also recorded if the block raises an error; with --no-log, there is no row. If the
    block succeeds without a call of `Run.allow`, the row has the permission `WITHOUT_ASKING`.

    Raises:
        Interrupted: Ctrl-C was pressed.
        InternalError: the block raised an error that is not a HarnessError.
    """
    if app.current_general is None or not app.current_general.no_log:
        app.run_log.start(door="model", line=line, skill=tool, options=options, job="", run=run)
    try:
        try:
            yield
        except KeyboardInterrupt as exc:
            raise Interrupted("interrupted") from exc
        except HarnessError:
            raise
        except Exception as exc:
            raise InternalError(exc) from exc
    except HarnessError as error:
        status: Status = "interrupted" if isinstance(error, Interrupted) else "failed"
        kind = type(error).__name__
        run.close(status, error.exit_code, Usage(), error_type=kind, error=str(error))
        raise
    if not run.allowed:
        run.allow(WITHOUT_ASKING)
    run.close("done", 0, Usage())


def log_failure(app: App, run: Run, tool: str, line: str, error: HarnessError) -> None:
    """Record a call that has no row in the run log yet, since it is invalid or not allowed."""
    with contextlib.suppress(HarnessError), logged(app, run, tool, line[:LINE], {}):
        raise error


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """Parse the arguments of a call, and return the arguments that are not null.

    Raises:
        UsageError: the arguments are not a JSON object.
    """
    try:
        given = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"the arguments are not JSON: {call.arguments[:200]!r} ({exc})",
            hint="Give one JSON object.",
        ) from exc
    if not isinstance(given, dict):
        raise UsageError(f"the arguments are not a JSON object: {call.arguments[:200]!r}")
    return {key: value for key, value in given.items() if value is not None}


def string(given: Mapping[str, Any], key: str) -> str:
    """Return the argument `key`, which must be text, or "" if it is missing.

    Raises:
        UsageError: the argument is not text.
    """
    value = given.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{key}: {value!r} is not text")
    return value
