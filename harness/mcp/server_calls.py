"""Calls of tools, each in a thread of its own.

Calls that only read run at any time. The others run one after the other, since they may use the
same model.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError

from harness.agent_skills.prompt_skill import PromptSkill
from harness.api import options as opts
from harness.api.options import GeneralOptions
from harness.chat.tools import BARE, offered, size
from harness.errors import HarnessError
from harness.mcp.server_consent import Confirm, Unanswered, confirm_of
from harness.mcp.server_tools import SkillTool, answer, refusal, tools_of
from harness.plugins.catalogue import Catalogue, Found
from harness.runs.frontend import Caller, Frontend, Outcome
from harness.runs.invocation import Invocation, render_line
from harness.runs.render import print_error
from harness.settings import Settings
from harness.support.stopping.stop_token import StopToken
from harness.terminal.console import OnProgress, Progress, Screen

LISTED = 24_000
"""Bytes of the names, descriptions and parameters in `tools/list`, which clients pass on to their
models. The tools have as much detail as this allows, those of the first skills more than others."""
GRACE = 5.0
"""Seconds that a cancelled call has to store what is complete before its thread is abandoned."""
TICK = 0.1
STEP = 0.001
"""What the progress grows by where a phase begins again: the protocol wants it to increase."""


class Dispatcher(Protocol):
    """Runs invocations; implemented by `harness.cli.app.App`."""

    settings: Settings
    general: dict[str, Any]

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def screen(self) -> Screen: ...

    def run_called(
        self, invocation: Invocation, line: str, caller: Caller | None = None
    ) -> Outcome: ...


@dataclass(slots=True)
class Calls:
    """The tools of an application, and their calls.

    Attributes:
        chosen: the names of the skills to serve; all of them if it is empty.
        saved: the files that calls have saved.
        running: the number of threads that work.
    """

    app: Dispatcher
    chosen: Collection[str] = ()
    saved: set[Path] = field(default_factory=set)
    running: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def skills(self) -> dict[str, Found]:
        """The skills that models may call, or prompt skills that users may, by name."""
        return {
            name: found
            for name, found in self.app.catalogue.skills.items()
            if (not self.chosen or name in self.chosen)
            and (
                found.for_users
                if _is_prompt(found)
                else found.skill.tool and (found.file is None or found.file.for_models)
            )
        }

    @property
    def tools(self) -> dict[str, SkillTool]:
        """The tools of these skills by name."""
        skills = [found.skill for found in self.skills.values() if not _is_prompt(found)]
        return {tool.name: tool for skill in skills for tool in tools_of(skill)}

    async def list_tools(
        self, ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        tools = self.tools
        least = sum(size(tool.described(BARE)) for tool in tools.values())
        listed = offered(tools.values(), max(LISTED, least))
        return types.ListToolsResult(tools=[tools[one.name].listed(one) for one in listed])

    async def call_tool(
        self, ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = self.tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:160]}")
        try:
            invocation = tool.invocation(params.arguments or {})
            call = _Call(self, tool, invocation, confirm_of(ctx.session, params))
            outcome = await call.run(ctx.session)
            self.saved.update(path.resolve() for path in outcome.saved)
            return answer(tool.skill, invocation.subcommand, outcome)
        except Unanswered as question:
            return question.as_result()
        except HarnessError as error:
            print_error(error, self.app.screen)
            return refusal(error)

    @contextlib.contextmanager
    def turn(self, tool: SkillTool, invocation: Invocation, cancel: StopToken) -> Iterator[None]:
        """Wait until this call may run.

        Raises:
            Interrupted: it was cancelled before.
        """
        if tool.skill.impact_of(invocation.subcommand) == "reads":
            yield
            return
        while not self._turn.acquire(timeout=TICK):
            cancel.check()
        try:
            yield
        finally:
            self._turn.release()


def _is_prompt(found: Found) -> bool:
    return isinstance(found.imported, PromptSkill)


@dataclass(slots=True)
class _Call:
    """One call of a tool."""

    calls: Calls
    tool: SkillTool
    invocation: Invocation
    confirm: Confirm
    cancel: StopToken = field(default_factory=StopToken)

    async def run(self, session: ServerSession) -> Outcome:
        """Run in a thread, and report its progress.

        Raises:
            HarnessError: what the skill raised.
        """
        loop, ended = asyncio.get_running_loop(), anyio.Event()
        send, receive = anyio.create_memory_object_stream[Progress](math.inf)

        def report(event: Progress) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, since the client is gone
                loop.call_soon_threadsafe(_put, send, event)

        def finish() -> None:
            self.calls.running -= 1
            ended.set()

        def work() -> Outcome | HarnessError:
            try:
                return self._run(report)
            except HarnessError as error:  # a task group would wrap it
                return error
            finally:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(finish)

        self.calls.running += 1
        async with anyio.create_task_group() as group:
            group.start_soon(_forward, receive, session)
            try:
                outcome = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            except anyio.get_cancelled_exc_class():
                self.cancel.request_stop()
                with anyio.move_on_after(GRACE, shield=True):
                    await ended.wait()
                raise
            finally:
                send.close()
        if isinstance(outcome, HarnessError):
            raise outcome
        return outcome

    def _run(self, report: OnProgress) -> Outcome:
        calls, app = self.calls, self.calls.app
        general = opts.build(GeneralOptions, app.general)
        own = general.model_copy(update={"as_json": False, "trust": False})
        invocation = replace(self.invocation, general=own)
        frontend = Frontend("mcp", None if general.yes else self.confirm, is_model=True)
        screen = Screen(io.StringIO(), app.screen.err, on_progress=report)
        line = render_line(self.tool.skill, invocation)
        with calls.turn(self.tool, invocation, self.cancel):
            return app.run_called(invocation, line, Caller(frontend, screen, self.cancel))


def _put(send: MemoryObjectSendStream[Progress], event: Progress) -> None:
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        send.send_nowait(event)


async def _forward(receive: MemoryObjectReceiveStream[Progress], session: ServerSession) -> None:
    """Send the progress of a call to its client."""
    last = -STEP
    async for event in receive:
        last = max(event.done, last + STEP)
        await session.report_progress(last, event.total, event.message or None)
