"""Offer skills as tools to an MCP client, and run each call of a tool in a separate thread.

Each skill for models that is not a prompt skill is offered as a tool. If some, but not all, calls
of a skill only read, its subcommands that only read also form a second tool, NAME_read. A client
may allow the second tool without asking the user.

Calls that only read run concurrently, up to a limit. Other calls run one after the other, since
they may use the same model. A call that waits for its turn has no thread.

Before a call makes changes, the client asks the user for consent. In revisions of the protocol
before 2026-07-28, the server sends the question to the client while the call waits. Since revision
2026-07-28, the call ends with the question, and the client repeats the call with the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import itertools
import json
import mimetypes
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema

from harness.agent_skills.prompt_skill import PromptSkill
from harness.api import options as opts
from harness.api.options import GeneralOptions
from harness.api.skill import Impact, Skill
from harness.chat.skill_tools import SAVE_TO, SUBCOMMAND, invocation_of, tool_of
from harness.chat.toolbox import ALL, BARE, compact, content_of, offered, shortened, size
from harness.errors import HarnessError, Interrupted, NotAllowed, SkillFailed, UsageError
from harness.models.backend import Tool, ToolCall
from harness.plugins.catalogue import Found
from harness.runs.frontend import Caller, Frontend, Outcome, print_error
from harness.runs.invocation import Invocation, render_line
from harness.support.stop_token import StopToken
from harness.terminal.console import Progress, Screen

if TYPE_CHECKING:
    from harness.cli.app import App

Confirm = Callable[[str], bool]
FORM: dict[str, object] = {"type": "object", "properties": {}}
"""A form without fields; a user who accepts the form allows the action in the question."""
LISTED = 24_000
"""Maximum number of bytes of names, descriptions and parameters in `tools/list`, which clients pass
on to their models. The limit is raised if the shortest descriptions need more bytes. If the limit
does not allow all details, the tools of the first skills are described in more detail.
"""
GRACE = 5.0
"""Seconds in which a cancelled call can store complete results; then its thread is abandoned."""
READS = 16
"""Maximum number of concurrent calls that only read; each call runs in a thread."""
STEP = 0.001
"""Minimum increase of the progress value between two reports, since the protocol requires that the
value increases with every report, and a new phase of a call restarts the progress.
"""
READING = "_read"
"""Suffix of the name of a skill's second tool; names of skills have no underscore."""
RESULT, SUMMARY = "result", "summary"
LONGEST = 20_000
"""Maximum number of characters of a result as text, for models; the structured result is
complete.
"""
HELP = "harness://help/"
"""Prefix of the URI of a tool's complete description."""
CONTENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "exit_code": {"type": "integer"},
        RESULT: {},
        SUMMARY: {"type": "object"},
        "saved": {"type": "array", "items": {"type": "string"}},
        "error": {"type": "string"},
    },
    "required": ["exit_code"],
}
"""The schema of the structured result of every call, which the server's instructions describe."""
_KEYS = TypeAdapter(frozenset[str])


@dataclass(frozen=True, slots=True)
class SkillTool:
    """The tool of a skill, or the second tool with the subcommands that only read.

    Attributes:
        reading: True for the tool with the subcommands that only read.
    """

    skill: Skill
    reading: bool = False

    @property
    def name(self) -> str:
        return self.skill.name + READING * self.reading

    @property
    def only_reads(self) -> bool:
        """True if no call of the tool makes changes or saves a file."""
        return self._impacts == {"reads"} and (self.reading or not self.skill.saves)

    @property
    def _subcommands(self) -> Sequence[str]:
        """The subcommands that a call may name; "" represents a call that names no subcommand."""
        if self.reading:
            return reading_subcommands(self.skill)
        return "", *self.skill.subcommands

    @property
    def _impacts(self) -> set[Impact]:
        return {self.skill.impact_of(name) for name in self._subcommands}

    def described(self, level: int) -> Tool:
        """Return the tool with its description and parameters at a level of detail."""
        only = self._subcommands if self.reading else ()
        return replace(tool_of(self.skill, level, only), name=self.name)

    def listed(self, tool: Tool) -> types.Tool:
        """Return `tool`, a result of `described`, in the form of `tools/list`."""
        more = f"{HELP}{self.name} describes all options and the result."
        return self._as_mcp(replace(tool, description=f"{tool.description}\n{more}"), CONTENT)

    def complete(self) -> types.Tool:
        """Return the tool with the descriptions of all options and the schema of its result."""
        return self._as_mcp(self.described(ALL), _output_schema(self.skill, self._subcommands))

    def _as_mcp(self, tool: Tool, output: dict[str, Any]) -> types.Tool:
        return types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=dict(tool.parameters),
            output_schema=output,
            annotations=types.ToolAnnotations(
                read_only_hint=self.only_reads,
                destructive_hint=None if self.only_reads else "changes" in self._impacts,
            ),
        )

    def invocation(self, arguments: Mapping[str, Any]) -> Invocation:
        """Return the invocation that a call requests.

        Raises:
            UsageError: the arguments are invalid, or the tool only reads and the call would make
                changes or save a file.
        """
        call = ToolCall(self.name, json.dumps(arguments))
        invocation = invocation_of(self.skill, call)
        known = self._subcommands
        if self.reading and (invocation.subcommand not in known or invocation.targets):
            raise UsageError(
                f"{self.name} only reads: {SUBCOMMAND} is one of {', '.join(known)}, and there is "
                f"no {SAVE_TO}",
                hint=f"The tool {self.skill.name} has all subcommands of /{self.skill.name}.",
            )
        return invocation


def tools_of(skill: Skill) -> Iterator[SkillTool]:
    """Yield the tool of a skill, and the second tool if some, but not all, calls only read."""
    tool = SkillTool(skill)
    yield tool
    if reading_subcommands(skill) and not tool.only_reads:
        yield SkillTool(skill, reading=True)


def reading_subcommands(skill: Skill) -> list[str]:
    """Return the names of the subcommands of a skill that only read."""
    return [name for name in skill.subcommands if skill.impact_of(name) == "reads"]


def _output_schema(skill: Skill, subcommands: Sequence[str]) -> dict[str, Any]:
    """Return `CONTENT` with the schemas of the result and of the summary for the subcommands."""
    by_kind: dict[str, dict[type[BaseModel] | None, list[str]]] = {RESULT: {}, SUMMARY: {}}
    for kind, name in itertools.product(by_kind, subcommands):
        model = skill.output_of(name, summary=kind == SUMMARY)
        by_kind[kind].setdefault(model, []).append(name)
    models = dict.fromkeys(model for forms in by_kind.values() for model in forms if model)
    references, shared = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/$defs/{model}"
    )
    properties = dict(CONTENT["properties"])
    for kind, forms in by_kind.items():
        properties[kind] = {
            "anyOf": [
                {"description": ", ".join(filter(None, names))}
                | (references[model, "serialization"] if model else {})
                for model, names in forms.items()
            ]
        }
    return {**CONTENT, "properties": properties, "$defs": shared.get("$defs", {})}


def answer(skill: Skill, subcommand: str, outcome: Outcome) -> types.CallToolResult:
    """Return the result of a finished call, with links to the saved files.

    Raises:
        SkillFailed: the result is not JSON, or does not match the skill's `output` or
            `output_summary`.
    """
    kind = RESULT if outcome.result.summary is None else SUMMARY
    data = json.loads(outcome.result.as_json())
    model = skill.output_of(subcommand, summary=kind == SUMMARY)
    if model is not None:
        try:
            model.model_validate(data)
        except ValidationError as exc:
            what = "output" if kind == RESULT else "output_summary"
            raise SkillFailed(
                f"/{skill.name} returned a {kind} that does not match its `{what}`: {exc}"
            ) from exc
    links = []
    for path in outcome.saved:
        real = path.resolve()
        media, _ = mimetypes.guess_type(real.name)
        size = real.stat().st_size
        links.append(
            types.ResourceLink(name=real.name, uri=real.as_uri(), mime_type=media, size=size)
        )
    content = content_of(outcome, **{kind: data})
    return _result(content, is_error=outcome.result.code != 0, links=links)


def _result(
    content: dict[str, Any], *, is_error: bool, links: Sequence[types.ResourceLink] = ()
) -> types.CallToolResult:
    text = compact(shortened(content, LONGEST))
    return types.CallToolResult(
        content=[types.TextContent(text=text), *links],
        structured_content=content,
        is_error=is_error,
    )


class Unanswered(NotAllowed):
    """Raised if the client must repeat the call with the user's answer to a question.

    Args:
        allowed: the keys of the questions that the user has already answered with yes.
    """

    def __init__(self, question: str, allowed: frozenset[str]) -> None:
        super().__init__(question)
        self.question, self.allowed = question, allowed

    def as_result(self) -> types.InputRequiredResult:
        """Return the result of the call, which makes the client ask the user the question."""
        form = types.ElicitRequestFormParams(message=self.question, requested_schema=dict(FORM))
        return types.InputRequiredResult(
            input_requests={_key(self.question): types.ElicitRequest(params=form)},
            request_state=json.dumps(sorted(self.allowed)),
        )


def confirm_of(session: ServerSession, params: types.InputResponseRequestParams) -> Confirm:
    """Return a function that asks the user a question, and returns True if the user agrees.

    The function is called in the thread of a tool call. The function raises NotAllowed if the
    client cannot ask the user, and Unanswered if the client must repeat the call with the answer.
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
    """Return a function that finds the user's answer to a question in the call's parameters.

    The function raises Unanswered if the parameters contain no answer to the question.
    `params.request_state`, which the client returns unchanged, contains the keys of the questions
    that the user has already answered with yes.
    """
    answers = params.input_responses or {}
    allowed = frozenset(key for key, answer in answers.items() if _accepts(answer))
    with contextlib.suppress(ValidationError):
        allowed |= _KEYS.validate_json(params.request_state or "[]")

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
    except asyncio.CancelledError as exc:  # the call was cancelled, or the client has disconnected
        raise Interrupted("interrupted") from exc
    return _accepts(answer)


def _accepts(answer: object) -> bool:
    return isinstance(answer, types.ElicitResult) and answer.action == "accept"


def _key(question: str) -> str:
    """Return the key of a question, under which its answer is stored."""
    return hashlib.sha256(question.encode(errors="replace")).hexdigest()[:16]


@dataclass(slots=True)
class Calls:
    """The tools of an application, and the calls of these tools.

    Attributes:
        chosen: the names of the skills to serve; empty to serve all skills.
        saved: the files that calls have saved.
        running: the number of running calls, including cancelled calls that have not ended yet.
    """

    app: App
    chosen: Collection[str] = ()
    saved: set[Path] = field(default_factory=set)
    running: int = 0
    _turn: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    _reads: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(READS))

    @property
    def skills(self) -> dict[str, Found]:
        """The served skills by name: skills for models, and prompt skills for users."""
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
            confirm = confirm_of(ctx.session, params)
            outcome = await self._run(ctx.session, tool, invocation, confirm)
            self.saved.update(path.resolve() for path in outcome.saved)
            return answer(tool.skill, invocation.subcommand, outcome)
        except Unanswered as question:
            return question.as_result()
        except HarnessError as error:
            print_error(error, self.app.screen)
            content = {"exit_code": error.exit_code or 1, "error": str(error)}
            return _result(content, is_error=True)

    async def _run(
        self, session: ServerSession, tool: SkillTool, invocation: Invocation, confirm: Confirm
    ) -> Outcome:
        """Run a call in a thread, report its progress to the client, and return its outcome.

        Raises:
            HarnessError: raised by the skill.
        """
        reads = tool.skill.impact_of(invocation.subcommand) == "reads"
        turns = self._reads if reads else self._turn
        await turns.acquire()
        self.running += 1
        cancel, begun, ended = StopToken(), threading.Lock(), anyio.Event()
        loop = asyncio.get_running_loop()
        events = asyncio.Queue[Progress | None]()

        def report(event: Progress) -> None:
            # raised if the event loop has ended, after the client has disconnected
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(events.put_nowait, event)

        def finish() -> None:
            self.running -= 1
            turns.release()
            ended.set()

        def work() -> Outcome | HarnessError:
            if not begun.acquire(blocking=False):
                return Interrupted("interrupted")
            try:
                general = opts.build(GeneralOptions, self.app.general)
                own = general.model_copy(update={"as_json": False, "trust": False})
                given = replace(invocation, general=own)
                frontend = Frontend("mcp", None if general.yes else confirm, is_model=True)
                screen = Screen(io.StringIO(), self.app.screen.err, on_progress=report)
                caller = Caller(frontend, screen, cancel)
                return self.app.run_called(given, render_line(tool.skill, given), caller)
            except HarnessError as error:  # if it were raised, the task group would wrap it
                return error
            finally:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(finish)

        async with anyio.create_task_group() as group:
            group.start_soon(_forward, events, session)
            try:
                outcome = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            except anyio.get_cancelled_exc_class():
                cancel.request_stop()
                # If the thread has not begun the call, `begun` is acquired here, and the thread
                # then skips the call.
                if begun.acquire(blocking=False):
                    finish()
                with anyio.move_on_after(GRACE, shield=True):
                    await ended.wait()
                raise
            finally:
                events.put_nowait(None)
        if isinstance(outcome, HarnessError):
            raise outcome
        return outcome


def _is_prompt(found: Found) -> bool:
    return isinstance(found.imported, PromptSkill)


async def _forward(events: asyncio.Queue[Progress | None], session: ServerSession) -> None:
    """Send the progress events of a call to the client, until `events` returns None."""
    last = -STEP
    while (event := await events.get()) is not None:
        last = max(event.done, last + STEP)
        await session.report_progress(last, event.total, event.message or None)
