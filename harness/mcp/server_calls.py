"""Run calls of tools by an MCP client, each in a separate thread.

Calls that only read run concurrently, up to a limit. Other calls run one after the other, since
they may use the same model. A call that waits for its turn has no thread. Before a call makes
changes, the client asks the user for consent: a client of an earlier revision answers a request of
the server while the call waits; since revision 2026-07-28, the call ends with the question, and the
client repeats the call with the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import math
import threading
from asyncio import CancelledError
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from harness.agent_skills.prompt_skill import PromptSkill
from harness.api import options as opts
from harness.api.options import GeneralOptions
from harness.chat.toolbox import BARE, offered, size
from harness.errors import HarnessError, Interrupted, NotAllowed
from harness.mcp.server_tools import SkillTool, answer, refusal, tools_of
from harness.plugins.catalogue import Found
from harness.runs.frontend import Caller, Frontend, Outcome, print_error
from harness.runs.invocation import Invocation, render_line
from harness.support.stop_token import StopToken
from harness.terminal.console import OnProgress, Progress, Screen

if TYPE_CHECKING:
    from harness.cli.app import App

Confirm = Callable[[str], bool]
FORM: dict[str, object] = {"type": "object", "properties": {}}
"""A form without fields; accepting it means to allow the action in the question."""
LISTED = 24_000
"""Maximum number of bytes of names, descriptions and parameters in `tools/list`, which clients pass
on to their models. Tools have as much detail as this limit allows; tools of the first skills have
more detail.
"""
GRACE = 5.0
"""Time in seconds for a cancelled call to store complete results; then its thread is abandoned."""
READS = 16
"""Maximum number of calls that read at the same time, each in a thread."""
STEP = 0.001
"""Increment of the progress when a new phase begins, since the protocol requires an increase."""


class Unanswered(NotAllowed):
    """Raised if the user has to answer a question before the call is repeated."""

    def __init__(self, question: str, allowed: frozenset[str]) -> None:
        super().__init__(question)
        self.question, self.allowed = question, allowed

    def as_result(self) -> types.InputRequiredResult:
        """Return the result that makes the client ask the question."""
        form = types.ElicitRequestFormParams(message=self.question, requested_schema=dict(FORM))
        return types.InputRequiredResult(
            input_requests={_key(self.question): types.ElicitRequest(params=form)},
            request_state=json.dumps(sorted(self.allowed)),
        )


def confirm_of(session: ServerSession, params: types.InputResponseRequestParams) -> Confirm:
    """Return a function that asks the user, to be called in the thread of a call.

    The function raises NotAllowed if the client cannot ask the user.
    """
    capabilities = session.client_capabilities
    forms = capabilities.elicitation if capabilities else None
    if forms is None or (forms.form is None and forms.url is not None):
        return _refuse
    if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return _answered(params)
    return lambda question: _ask_now(session, question)


def _refuse(question: str) -> bool:
    raise NotAllowed(
        f"{question} This client cannot ask the user",
        hint="A server that is started as `agent.py --yes mcp` does not ask.",
    )


def _answered(params: types.InputResponseRequestParams) -> Confirm:
    """Return a function that looks up a question in the answers that came with the call.

    The client stores the questions that were allowed before in the state of the call.
    """
    answers = params.input_responses or {}
    try:
        earlier = json.loads(params.request_state or "[]")
    except ValueError:
        earlier = []
    kept = [key for key in earlier if isinstance(key, str)] if isinstance(earlier, list) else []
    allowed = frozenset([*kept, *(key for key, answer in answers.items() if _accepts(answer))])

    def confirm(question: str) -> bool:
        key = _key(question)
        if key not in allowed and key not in answers:
            raise Unanswered(question, allowed)
        return key in allowed

    return confirm


def _ask_now(session: ServerSession, question: str) -> bool:
    try:
        answer = anyio.from_thread.run(session.elicit_form, question, dict(FORM))
    except MCPError as exc:
        raise NotAllowed(f"the client could not ask the user: {exc}") from exc
    except CancelledError as exc:  # the call was cancelled, or the client has disconnected
        raise Interrupted("interrupted") from exc
    return _accepts(answer)


def _accepts(answer: object) -> bool:
    return isinstance(answer, types.ElicitResult) and answer.action == "accept"


def _key(question: str) -> str:
    """Return the key of a question, under which its answer is stored."""
    return hashlib.sha256(question.encode(errors="replace")).hexdigest()[:16]


@dataclass(slots=True)
class Calls:
    """The tools of an application, and their calls.

    Attributes:
        chosen: the names of the skills to serve; all skills if it is empty.
        saved: the files that calls have saved.
        running: the number of working threads.
    """

    app: App
    chosen: Collection[str] = ()
    saved: set[Path] = field(default_factory=set)
    running: int = 0
    _turn: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    _reads: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(READS))

    @property
    def skills(self) -> dict[str, Found]:
        """The served skills: skills that models may call, and prompt skills that users may."""
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
        """The tools of the served skills by name."""
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

    def turns(self, tool: SkillTool, invocation: Invocation) -> anyio.Semaphore:
        """Return the semaphore that a call must acquire before its thread starts."""
        reads = tool.skill.impact_of(invocation.subcommand) == "reads"
        return self._reads if reads else self._turn


def _is_prompt(found: Found) -> bool:
    return isinstance(found.imported, PromptSkill)


@dataclass(slots=True)
class _Call:
    """A call of a tool."""

    calls: Calls
    tool: SkillTool
    invocation: Invocation
    confirm: Confirm
    cancel: StopToken = field(default_factory=StopToken)

    async def run(self, session: ServerSession) -> Outcome:
        """Run the call in a thread, and report its progress to the client.

        Raises:
            HarnessError: the error that the skill raised.
        """
        turns, begun = self.calls.turns(self.tool, self.invocation), threading.Lock()
        await turns.acquire()
        self.calls.running += 1
        loop, ended = asyncio.get_running_loop(), anyio.Event()
        send, receive = anyio.create_memory_object_stream[Progress](math.inf)

        def report(event: Progress) -> None:
            # the loop has ended, since the client has disconnected
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_put, send, event)

        def finish() -> None:
            self.calls.running -= 1
            turns.release()
            ended.set()

        def work() -> Outcome | HarnessError:
            if not begun.acquire(blocking=False):
                return Interrupted("interrupted")
            try:
                return self._run(report)
            except HarnessError as error:  # a task group would wrap the error
                return error
            finally:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(finish)

        async with receive, anyio.create_task_group() as group:
            group.start_soon(_forward, receive, session)
            try:
                outcome = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            except anyio.get_cancelled_exc_class():
                self.cancel.request_stop()
                if begun.acquire(blocking=False):  # the thread of the call will not begin
                    finish()
                with anyio.move_on_after(GRACE, shield=True):
                    await ended.wait()
                raise
            finally:
                send.close()
        if isinstance(outcome, HarnessError):
            raise outcome
        return outcome

    def _run(self, report: OnProgress) -> Outcome:
        app = self.calls.app
        general = opts.build(GeneralOptions, app.general)
        own = general.model_copy(update={"as_json": False, "trust": False})
        invocation = replace(self.invocation, general=own)
        frontend = Frontend("mcp", None if general.yes else self.confirm, is_model=True)
        screen = Screen(io.StringIO(), app.screen.err, on_progress=report)
        line = render_line(self.tool.skill, invocation)
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
