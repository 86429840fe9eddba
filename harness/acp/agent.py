"""The agent of an editor: sessions, prompts, commands and the model, over stdin and stdout.

Prompts run one after the other in a thread of their own, since they may use the same model. The
folder of a session is its project, with one application for all sessions of a project.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import acp
import anyio
import anyio.to_thread
from acp import RequestError, helpers, schema
from acp.interfaces import Client

from harness._version import __version__
from harness.acp.editor import Editor, EditorScreen, short
from harness.acp.frames import Frames
from harness.chat.conversation import Conversation, fenced
from harness.errors import (
    HarnessError,
    InputError,
    InternalError,
    Interrupted,
    OutputError,
    RegistryError,
)
from harness.models.backend import Message
from harness.models.registry import Registry
from harness.permissions import in_one_line
from harness.plugins.catalogue import Catalogue
from harness.runs.frontend import Frontend, Outcome
from harness.runs.invocation import quoted, split_command, split_options
from harness.sessions import SessionStore
from harness.settings import Settings
from harness.terminal import stdout_guard
from harness.terminal.console import Screen

NAME = "nanda-harness"
CHAT, MODEL, DEFAULT = "chat", "model", "default"
UNLISTED = frozenset({"clear", "exit", "quit", "resume"})
"""Commands of a terminal session that are not offered, since editors have their own ones."""
LISTED = 100
"""Maximum number of sessions in an answer."""
TITLE = 160
"""Maximum number of characters of the title of a command."""
GRACE = 5.0
"""Seconds that a cancelled prompt has to store complete results before it is answered."""
INVALID = -32602
"""The code of an error for invalid parameters."""


class App(Protocol):
    """An application of one project, such as `harness.cli.app.App`."""

    settings: Settings
    preferred: dict[str, str]

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def registry(self) -> Registry: ...

    def converse(self, conversation: Conversation) -> None: ...

    def dispatch(
        self, line: str, *, frontend: Frontend, console: Screen, cancel: threading.Event
    ) -> Outcome: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Session:
    """A session of the editor.

    Attributes:
        model: the chosen chat model; "" for the choice of the registry.
        commands: the commands that the editor knows.
        editor: the editor during the current prompt, or None.
    """

    id: str
    app: App
    conversation: Conversation
    model: str = ""
    commands: list[schema.AvailableCommand] = field(default_factory=list)
    editor: Editor | None = None


def serve(make_app: Callable[[Path], App], settings: Settings) -> bool:
    """Answer an editor until it closes stdin; return True if all prompts have ended as well.

    Args:
        make_app: returns the application of a project.

    Raises:
        OutputError: stdout is closed.
    """
    out = stdout_guard.results()
    if out is None:
        raise OutputError("stdout is closed, and an editor reads the answers there")
    if sys.stdin is None:
        return True
    if sys.stdin.isatty():
        Screen().notice("Serving an editor on stdin and stdout (docs/editors.md). Ctrl-D ends it.")
    agent = EditorAgent(make_app, settings)
    anyio.run(agent.serve, out)
    return agent.close()


class EditorAgent:
    """Answers the requests of an editor; the package `acp` calls a method for each of them."""

    def __init__(self, make_app: Callable[[Path], App], settings: Settings) -> None:
        self._make_app, self._settings = make_app, settings
        self._store = SessionStore(settings.sessions, Screen().notice)
        self._apps: dict[Path, App] = {}
        self._opening = anyio.Lock()
        self._sessions: dict[str, Session] = {}
        self._worker = ThreadPoolExecutor(1, "prompt")
        self._running: dict[asyncio.Future[schema.StopReason], Editor] = {}
        self._can = schema.ClientCapabilities()
        self._unstored = itertools.count(1)

    async def serve(self, out: IO[str]) -> None:
        """Answer requests until the editor disconnects, and then stop all prompts."""
        self._frames = Frames(out)
        try:
            await acp.run_agent(cast("acp.Agent", self), self._frames)
        finally:
            for editor in self._running.values():
                editor.stop()
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE)

    def close(self) -> bool:
        """Free the models of all applications; return False if a prompt still runs."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        if self._running:
            return False
        for app in self._apps.values():
            app.close()
        return True

    def on_connect(self, client: Client) -> None:
        self._client = client

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: schema.ClientCapabilities | None = None,
        **_: Any,
    ) -> schema.InitializeResponse:
        self._can = client_capabilities or self._can
        return schema.InitializeResponse(
            protocol_version=acp.PROTOCOL_VERSION,
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                session_capabilities=schema.SessionCapabilities(
                    list=schema.SessionListCapabilities()
                ),
            ),
            agent_info=schema.Implementation(name=NAME, title="Nanda", version=__version__),
        )

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        app = await self._app(cwd)
        conversation = Conversation.of(app.settings, Screen().notice)
        if conversation.keeps and conversation.store is not None:
            begin = partial(conversation.store.begin, conversation.project)
            conversation.session = await anyio.to_thread.run_sync(begin)
        number = conversation.session
        name = f"unstored-{next(self._unstored)}" if number is None else str(number)
        session = self._opened(Session(name, app, conversation))
        return schema.NewSessionResponse(session_id=name, config_options=_options(session))

    async def load_session(self, cwd: str, session_id: str, **_: Any) -> schema.LoadSessionResponse:
        known = self._sessions.get(session_id)
        if known is not None and known.editor is not None:
            raise RequestError(INVALID, f"session {session_id} is running a prompt")
        app = await self._app(cwd)
        conversation = Conversation.of(app.settings, Screen().notice)
        if not session_id.isdecimal():
            raise RequestError(INVALID, f"there is no session {session_id[:60]!r}")
        try:
            await anyio.to_thread.run_sync(conversation.resume, int(session_id))
        except (HarnessError, OverflowError) as exc:
            raise RequestError(INVALID, str(exc)) from exc
        for update in _replayed(conversation.messages):
            await self._client.session_update(session_id=session_id, update=update)
        session = self._opened(Session(session_id, app, conversation))
        return schema.LoadSessionResponse(config_options=_options(session))

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> schema.ListSessionsResponse:
        if cursor is not None and not (cursor.isdecimal() and len(cursor) < 10):
            raise RequestError(INVALID, f"invalid cursor: {cursor[:60]!r}")
        start = int(cursor or 0)
        project = None if cwd is None else Path(cwd).resolve()
        found = await anyio.to_thread.run_sync(self._store.found, "", project, start + LISTED + 1)
        sessions = [
            schema.SessionInfo(
                session_id=str(one.id), cwd=one.project, title=one.title, updated_at=one.used_at
            )
            for one in found[start : start + LISTED]
        ]
        more = len(found) > start + LISTED
        return schema.ListSessionsResponse(
            sessions=sessions, next_cursor=str(start + LISTED) if more else None
        )

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> schema.SetSessionConfigOptionResponse:
        session = self._session(session_id)
        options = _options(session)
        known = [option.value for one in options for option in one.options]
        if config_id != MODEL or value not in known:
            raise RequestError(INVALID, f"{config_id}: there is no {str(value)[:60]!r}")
        session.model = "" if value == DEFAULT else str(value)
        return schema.SetSessionConfigOptionResponse(config_options=_options(session))

    async def cancel(self, session_id: str, **_: Any) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.editor is not None:
            session.editor.stop()

    async def prompt(
        self, session_id: str, prompt: Sequence[Any], **_: Any
    ) -> schema.PromptResponse:
        session = self._session(session_id)
        if session.editor is not None:
            raise RequestError(INVALID, f"session {session_id} is running a prompt")
        line = line_of(prompt, session.app.settings.project_dir)
        title = in_one_line(line, TITLE)
        editor = session.editor = Editor(self._client, self._can, session_id, title)
        try:
            if self._running:
                waits = helpers.update_agent_thought_text("Another prompt runs first.\n\n")
                await self._client.session_update(session_id=session_id, update=waits)
            loop = asyncio.get_running_loop()
            run = loop.run_in_executor(self._worker, _run, session, editor, line)
            self._running[run] = editor
            run.add_done_callback(self._running.pop)
            stopped = asyncio.ensure_future(editor.stopped.wait())
            either: set[asyncio.Future[Any]] = {run, stopped}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not run.done():
                await asyncio.wait({run}, timeout=GRACE)
            reason = "cancelled" if editor.cancel.is_set() else run.result()
        finally:
            session.editor = None
        return schema.PromptResponse(stop_reason=reason)

    async def _app(self, cwd: str) -> App:
        """Return the application of a folder.

        Raises:
            RequestError: there is no such folder, or the application cannot start.
        """
        folder = Path(cwd)
        if not folder.is_absolute() or not folder.is_dir():
            raise RequestError(INVALID, f"cwd: there is no folder {cwd[:200]!r}")
        folder = folder.resolve()
        async with self._opening:
            if folder not in self._apps:
                try:
                    make = partial(self._make_app, folder)
                    self._apps[folder] = await anyio.to_thread.run_sync(make)
                except HarnessError as exc:
                    raise RequestError(INVALID, str(exc)) from exc
        return self._apps[folder]

    def _session(self, session_id: str) -> Session:
        if session_id not in self._sessions:
            raise RequestError(INVALID, f"there is no open session {session_id[:60]!r}")
        return self._sessions[session_id]

    def _opened(self, session: Session) -> Session:
        """Add a session; its commands follow the answer, since editors ignore earlier ones."""
        self._sessions[session.id] = session
        self._frames.then(partial(self._announce, session))
        return session

    async def _announce(self, session: Session) -> None:
        commands = await anyio.to_thread.run_sync(_commands, session.app.catalogue)
        session.commands = commands
        update = helpers.update_available_commands(commands)
        await self._client.session_update(session_id=session.id, update=update)


def _commands(catalogue: Catalogue) -> list[schema.AvailableCommand]:
    """Return the commands that the user may call, with a hint at their input."""
    commands = []
    for name, found in sorted(catalogue.skills.items()):
        if name in UNLISTED or not found.for_users:
            continue
        skill = found.skill
        hint = " ".join(
            (
                *(["SUBCOMMAND"] if skill.subcommands else []),
                *([skill.usage] if skill.text != "none" and skill.usage else []),
                *(["save to FILE"] if skill.saves else []),
            )
        )
        command = schema.AvailableCommand(name=name, description=found.summary)
        if hint:
            unstructured = schema.UnstructuredCommandInput(hint=hint)
            command.input = schema.AvailableCommandInput(root=unstructured)
        commands.append(command)
    return commands


def _options(session: Session) -> list[schema.SessionConfigOptionSelect]:
    """Return the option "model"; [] without a usable registry, which the next prompt reports."""
    try:
        models = session.app.registry.models
    except RegistryError:
        return []
    names = {DEFAULT: "Choice of the registry"}
    names |= {name: name for name, entry in models.items() if CHAT in entry.tasks}
    if session.model:
        names.setdefault(session.model, session.model)
    values = [schema.SessionConfigSelectOption(value=v, name=name) for v, name in names.items()]
    return [
        schema.SessionConfigOptionSelect(
            type="select",
            id=MODEL,
            name="Model",
            description="The model of the chat; other tasks keep their models",
            category="model",
            current_value=session.model or DEFAULT,
            options=values,
        )
    ]


def line_of(prompt: Iterable[Any], project: Path) -> str:
    """Return the line that the blocks of a prompt contain; a link becomes the path of its file.

    Raises:
        RequestError: a block is neither text nor a link.
    """
    blocks = [*prompt]
    texts = [one.text for one in blocks if isinstance(one, schema.TextContentBlock)]
    is_command = split_command("".join(texts).lstrip()) is not None
    line = ""
    for block in blocks:
        match block:
            case schema.TextContentBlock():
                part = block.text
            case schema.ResourceContentBlock(uri=uri):
                part = _path_of(uri, project, is_command=is_command)
            case schema.EmbeddedResourceContentBlock():
                part = _path_of(block.resource.uri, project, is_command=is_command)
            case _:
                raise RequestError(INVALID, f"a prompt has text and files, not {block.type}")
        is_link = not isinstance(block, schema.TextContentBlock)
        line += " " * (is_link and bool(line) and not line[-1].isspace()) + part
    return line.strip()


def _path_of(uri: str, project: Path, *, is_command: bool) -> str:
    """Return a link as a user would type it: the path of a file, or @PATH in plain text."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return uri
    path = Path(url2pathname(parts.path))
    shown = str(path.relative_to(project) if path.is_relative_to(project) else path)
    return quoted(shown) if is_command else f"@{quoted(shown)}"


def _replayed(messages: Iterable[Message]) -> Iterable[Any]:
    """Yield the updates that show a stored conversation."""
    for number, message in enumerate(messages):
        text = short(message.content)
        if message.role == "user":
            yield helpers.update_user_message_text(text)
        elif message.role == "assistant" and text:
            yield helpers.update_agent_message_text(text)
        elif message.answers is not None:
            call = message.answers
            yield helpers.start_tool_call(
                f"stored_{number}",
                in_one_line(f"{call.name} {call.arguments}", TITLE),
                kind="other",
                status="completed",
                content=[helpers.tool_content(helpers.text_block(fenced(text)))],
            )


def _run(session: Session, editor: Editor, line: str) -> schema.StopReason:
    """Run a prompt and show its outcome; called in the thread of the prompts."""
    app, model = session.app, session.model
    if editor.cancel.is_set():
        return "cancelled"
    app.converse(session.conversation)
    app.preferred.pop(CHAT, None)
    if model:
        app.preferred[CHAT] = model
    try:
        os.chdir(app.settings.project_dir)
        if _is_job(app, line):
            editor.begin(editor.title)
        screen = EditorScreen(editor)
        outcome = app.dispatch(line, frontend=editor.frontend, console=screen, cancel=editor.cancel)
        error = _show(outcome, editor)
    except (HarnessError, OSError) as exc:
        error = exc if isinstance(exc, HarnessError) else InputError(str(exc))
        editor.end_all(_said(error), failed=True)
        editor.say_apart(_said(error))
    _update(session, editor, chosen=app.preferred.get(CHAT, ""), before=model)
    return "cancelled" if isinstance(error, Interrupted) else "end_turn"


def _is_job(app: App, line: str) -> bool:
    """Return True for a command that the run log and the model know, such as /annotate."""
    typed = split_command(split_options(line)[1])
    found = app.catalogue.skills.get(typed[0]) if typed else None
    return found is not None and found.skill.tool and found.skill.logged


def _show(outcome: Outcome, editor: Editor) -> HarnessError | None:
    """Show a result, and return the error that ended the work early."""
    result, saved = outcome.result, outcome.saved
    parts = [f"Saved to {path}" for path in saved]
    if not parts and not outcome.emitted:
        parts.append(result.as_json() if outcome.general.as_json else result.text.rstrip())
    if result.stopped is not None:
        parts.append(_said(result.stopped))
    text = short("\n".join(filter(None, parts)))
    editor.end_all(text, failed=result.code != 0, saved=saved)
    if text:
        editor.say_apart(fenced(text) if "\n" in text else text)
    return result.stopped


def _said(error: HarnessError) -> str:
    """Return the message of an error; the traceback of an internal error goes to stderr."""
    if isinstance(error, InternalError) and error.__cause__ is not None:
        Screen().notice("".join(traceback.format_exception(error.__cause__)).rstrip())
    if isinstance(error, Interrupted):
        return f"Interrupted. {error.hint or ''}".rstrip()
    return f"Error: {error}"


def _update(session: Session, editor: Editor, *, chosen: str, before: str) -> None:
    """Tell the editor what the prompt has changed: the model, the commands and the title."""
    if chosen != before:
        session.model = chosen
        editor.send(
            schema.ConfigOptionUpdate(
                session_update="config_option_update", config_options=_options(session)
            )
        )
    commands = _commands(session.app.catalogue)
    if session.commands and commands != session.commands:
        session.commands = commands
        editor.send(helpers.update_available_commands(commands))
    conversation = session.conversation
    if conversation.store is not None and conversation.session is not None:
        stored = conversation.store.get(conversation.session)
        if stored is not None and stored.turns == 1:
            editor.send(
                schema.SessionInfoUpdate(
                    session_update="session_info_update",
                    title=stored.title,
                    updated_at=stored.used_at,
                )
            )
