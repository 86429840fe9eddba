"""An agent for an editor: it serves sessions, prompts, commands and the choice of a model.

The folder of a session is its project. All sessions of a project share one application. Prompts run
one after the other in one thread, since they may use the same model.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import acp
from acp import RequestError, helpers, schema
from acp.interfaces import Client

from harness import errors
from harness._version import __version__
from harness.acp.editor import LONGEST, Editor, EditorScreen, as_content, shown
from harness.acp.frames import Frames
from harness.chat.conversation import Conversation
from harness.errors import HarnessError, Interrupted
from harness.models.backend import Message
from harness.permissions import in_one_line
from harness.plugins.catalogue import Catalogue
from harness.runs.frontend import Outcome, print_error
from harness.runs.invocation import quoted, split_command, split_options
from harness.sessions import SessionStore
from harness.settings import Settings
from harness.support.sqlite import row_id
from harness.support.text_input import well_formed
from harness.terminal import streams
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.cli.app import App

CHAT, MODEL, DEFAULT = "chat", "model", "default"
UNLISTED = frozenset({"clear", "exit", "quit", "resume"})
"""Commands of a terminal session that are not offered, since editors provide these functions."""
LISTED = 200
"""Maximum number of sessions that are listed, the latest first."""
TITLE = 160
"""Maximum number of characters of a tool call's title."""
GRACE = 5.0
"""Time in seconds for a running prompt to store results after the editor has disconnected."""
INVALID = -32602
"""JSON-RPC error code for invalid parameters."""


@dataclass(slots=True)
class Session:
    """A session that the editor has opened.

    Attributes:
        model: the chosen chat model; "" if the registry determines the model.
        commands: the list of commands that was last sent to the editor.
        editor: the connection to the editor for the current prompt, or None without a prompt.
    """

    id: str
    app: App
    conversation: Conversation
    model: str = ""
    commands: list[schema.AvailableCommand] = field(default_factory=list)
    editor: Editor | None = None


def serve(make_app: Callable[[Path], App], settings: Settings) -> None:
    """Answer an editor until it closes stdin.

    Args:
        make_app: returns the application of a project.

    Raises:
        OutputError: stdout is closed.
    """
    if out := streams.for_client("an editor", "docs/editors.md"):
        asyncio.run(EditorAgent(make_app, settings).serve(cast("TextIO", out)))


class EditorAgent:
    """Answers the requests of an editor; the package `acp` calls a method for each request."""

    def __init__(self, make_app: Callable[[Path], App], settings: Settings) -> None:
        self._make_app = make_app
        self._store = SessionStore(settings.sessions, Screen().notice)
        self._apps: dict[Path, App] = {}
        self._opening = asyncio.Lock()
        self._sessions: dict[str, Session] = {}
        self._worker = ThreadPoolExecutor(1, "prompt")
        self._running: dict[asyncio.Future[schema.StopReason], Editor] = {}
        self._can = schema.ClientCapabilities()

    async def serve(self, out: TextIO) -> None:
        """Answer requests until the editor disconnects, then stop all prompts and free the models.

        The models are not freed if a prompt is still running after `GRACE` seconds.
        """
        self._frames = Frames(out.buffer)
        try:
            await acp.run_agent(cast("acp.Agent", self), self._frames)
        finally:
            for editor in self._running.values():
                editor.stop()
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE)
            self._worker.shutdown(wait=False, cancel_futures=True)
            if not self._running:
                for app in self._apps.values():
                    app.close()

    def on_connect(self, client: Client) -> None:
        self._client = client

    async def initialize(
        self, client_capabilities: schema.ClientCapabilities | None = None, **_: Any
    ) -> schema.InitializeResponse:
        self._can = client_capabilities or schema.ClientCapabilities()
        lists = schema.SessionCapabilities(list=schema.SessionListCapabilities())
        return schema.InitializeResponse(
            protocol_version=acp.PROTOCOL_VERSION,
            agent_capabilities=schema.AgentCapabilities(
                load_session=True, session_capabilities=lists
            ),
            agent_info=schema.Implementation(name="nanda-harness", version=__version__),
        )

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        session = await self._open(cwd)
        return schema.NewSessionResponse(session_id=session.id, config_options=_options(session))

    async def load_session(self, cwd: str, session_id: str, **_: Any) -> schema.LoadSessionResponse:
        if session_id in self._sessions and self._sessions[session_id].editor is not None:
            raise RequestError(INVALID, f"session {session_id} is running a prompt")
        session = await self._open(cwd, session_id)
        for update in _replayed(session.conversation.messages):
            await self._client.session_update(session_id=session_id, update=update)
        return schema.LoadSessionResponse(config_options=_options(session))

    async def _open(self, cwd: str, session_id: str = "") -> Session:
        """Open and return a new session, or the stored session with the given id.

        The list of slash commands is sent to the editor after the response to this request, since
        editors ignore a list that arrives earlier.
        """
        async with self._opening:
            try:
                session = await asyncio.to_thread(self._opened, cwd, session_id)
            except HarnessError as exc:
                raise RequestError(INVALID, str(exc)) from exc
        self._sessions[session.id] = session
        self._frames.then(partial(self._announce, session))
        return session

    def _opened(self, cwd: str, session_id: str) -> Session:
        if not Path(cwd).is_absolute() or not Path(cwd).is_dir():
            raise errors.InputError(f"cwd: there is no folder {cwd[:200]!r}")
        folder = Path(cwd).resolve()
        if folder not in self._apps:
            self._apps[folder] = self._make_app(folder)
        app = self._apps[folder]
        conversation = Conversation.of(app.settings, Screen().notice)
        if session_id:
            if (number := row_id(session_id)) is None:
                raise errors.NothingFound(f"there is no session {session_id[:60]!r}")
            conversation.resume(number)
        elif conversation.keeps:
            conversation.session = conversation.store.begin(conversation.project)
        stored = conversation.session or f"unstored-{len(self._sessions)}"
        return Session(session_id or str(stored), app, conversation)

    async def _announce(self, session: Session) -> None:
        session.commands = await asyncio.to_thread(_commands, session.app.catalogue)
        update = helpers.update_available_commands(session.commands)
        await self._client.session_update(session_id=session.id, update=update)

    async def list_sessions(self, cwd: str | None = None, **_: Any) -> schema.ListSessionsResponse:
        project = None if cwd is None else Path(cwd).resolve()
        found = await asyncio.to_thread(self._store.found, "", project, LISTED)
        sessions = [
            schema.SessionInfo(
                session_id=str(one.id), cwd=one.project, title=one.title, updated_at=one.used_at
            )
            for one in found
        ]
        return schema.ListSessionsResponse(sessions=sessions)

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> schema.SetSessionConfigOptionResponse:
        session = self._session(session_id)
        known = [option.value for one in _options(session) for option in one.options]
        if config_id != MODEL or value not in known:
            raise RequestError(INVALID, f"{config_id}: there is no {str(value)[:60]!r}")
        session.model = "" if value == DEFAULT else str(value)
        return schema.SetSessionConfigOptionResponse(config_options=_options(session))

    def _session(self, session_id: str) -> Session:
        if session_id not in self._sessions:
            raise RequestError(INVALID, f"there is no open session {session_id[:60]!r}")
        return self._sessions[session_id]

    async def prompt(
        self, session_id: str, prompt: Sequence[Any], **_: Any
    ) -> schema.PromptResponse:
        session = self._session(session_id)
        if session.editor is not None:
            raise RequestError(INVALID, f"session {session_id} is running a prompt")
        if not (line := line_of(prompt, session.app.settings.project_dir)):
            raise RequestError(INVALID, "the prompt is empty")
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
            return schema.PromptResponse(stop_reason=await asyncio.shield(run))
        finally:
            session.editor = None

    async def cancel(self, session_id: str, **_: Any) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.editor is not None:
            session.editor.stop()


def _commands(catalogue: Catalogue) -> list[schema.AvailableCommand]:
    """Return the commands to offer in an editor, with descriptions of their input."""
    commands = []
    for name, found in sorted(catalogue.skills.items()):
        if name in UNLISTED or not found.for_users:
            continue
        skill = found.skill
        usage = "" if skill.text == "none" else skill.usage
        parts = "SUBCOMMAND" * bool(skill.subcommands), usage, "save to FILE" * bool(skill.saves)
        command = schema.AvailableCommand(name=name, description=found.summary)
        if hint := " ".join(filter(None, parts)):
            unstructured = schema.UnstructuredCommandInput(hint=hint)
            command.input = schema.AvailableCommandInput(root=unstructured)
        commands.append(command)
    return commands


def _options(session: Session) -> list[schema.SessionConfigOptionSelect]:
    """Return a list with the option that selects the model; [] if the registry cannot be used.

    The next prompt that needs the registry then reports the error.
    """
    try:
        models = session.app.registry.models
    except errors.RegistryError:
        return []
    now = session.model or DEFAULT
    names = [DEFAULT, *(name for name, entry in models.items() if CHAT in entry.tasks), now]
    values = [
        schema.SessionConfigSelectOption(value=name, name=name) for name in dict.fromkeys(names)
    ]
    option = schema.SessionConfigOptionSelect(
        type="select", id=MODEL, name="Model", category="model", current_value=now, options=values
    )
    return [option]


def line_of(prompt: Iterable[Any], project: Path) -> str:
    """Return a prompt as one line; each link to a file is replaced by the path of the file.

    Raises:
        RequestError: a block is neither text nor a link.
    """
    blocks = [*prompt]
    texts = [one.text for one in blocks if isinstance(one, schema.TextContentBlock)]
    is_command = split_command("".join(texts).lstrip()) is not None
    line = ""
    for block in blocks:
        if isinstance(block, schema.TextContentBlock):
            line += block.text
        elif isinstance(block, schema.ResourceContentBlock):
            line += " " * (line[-1:].strip() != "")
            line += _path_of(block.uri, project, is_command=is_command)
        else:
            raise RequestError(INVALID, f"a prompt has text and links, not {block.type}")
    return line.strip()


def _path_of(uri: str, project: Path, *, is_command: bool) -> str:
    """Return the path in a link to a file, as a user types it: PATH in a command, @PATH in text.

    Any other link is returned unchanged.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return uri
    path = Path(url2pathname(parts.path))
    name = str(path.relative_to(project) if path.is_relative_to(project) else path)
    # without "./", a name such as "-x" would be parsed as an option
    name = quoted(f"./{name}" if name.startswith("-") else name)
    return name if is_command else f"@{name}"


def _replayed(messages: Iterable[Message]) -> Iterator[Any]:
    """Yield the updates that show a stored conversation."""
    for number, message in enumerate(messages):
        text = well_formed(message.content[:LONGEST])
        if message.role == "user":
            yield helpers.update_user_message_text(text)
        elif message.role == "assistant" and text:
            yield helpers.update_agent_message_text(text)
        elif (call := message.answers) is not None:
            name, title = f"stored_{number}", in_one_line(f"{call.name} {call.arguments}", TITLE)
            content = as_content(shown(text))
            yield helpers.start_tool_call(name, title, status="completed", content=content)


def _run(session: Session, editor: Editor, line: str) -> schema.StopReason:
    """Run a prompt and show its outcome or error; called in the thread of the prompts.

    Returns:
        "cancelled" after a cancellation or an interruption, otherwise "end_turn".
    """
    app, model = session.app, session.model
    if editor.cancel.is_set():
        return "cancelled"
    app.conversation = session.conversation
    app.preferred.pop(CHAT, None)
    if model:
        app.preferred[CHAT] = model
    try:
        os.chdir(app.settings.project_dir)
        typed = split_command(split_options(line)[1])
        found = app.catalogue.skills.get(typed[0]) if typed else None
        if found is not None and found.skill.tool and found.skill.logged:  # such as /annotate
            editor.begin(editor.title)
        screen = EditorScreen(editor)
        outcome = app.dispatch(line, frontend=editor.frontend, console=screen, cancel=editor.cancel)
        error = _show(outcome, editor)
    except (HarnessError, OSError) as exc:
        problem = f"the folder of the session cannot be used: {exc}"
        error = exc if isinstance(exc, HarnessError) else errors.InputError(problem)
        text = _text_of(error)
        editor.end_all(text, failed=True)
        editor.append_paragraph(text)
    _update(session, editor, chosen=app.preferred.get(CHAT, ""), before=model)
    stopped = editor.cancel.is_set() or isinstance(error, Interrupted)
    return "cancelled" if stopped else "end_turn"


def _show(outcome: Outcome, editor: Editor) -> HarnessError | None:
    """Show a result, and return the error that ended the work early, or None."""
    result, saved = outcome.result, outcome.saved
    parts = [f"Saved to {path}" for path in saved]
    if not parts and not outcome.emitted:
        parts.append(result.as_json() if outcome.general.as_json else result.text.rstrip())
    if result.stopped is not None:
        parts.append(_text_of(result.stopped))
    text = "\n".join(filter(None, parts))
    editor.end_all(text, failed=result.code != 0, saved=saved)
    if text:
        editor.append_paragraph(shown(text))
    return result.stopped


def _text_of(error: HarnessError) -> str:
    """Return the message of an error; print the traceback of an internal error to stderr."""
    if isinstance(error, errors.InternalError):
        print_error(error, Screen())
    if isinstance(error, Interrupted):
        return f"Interrupted. {error.hint or ''}".rstrip()
    return f"Error: {error}"


def _update(session: Session, editor: Editor, *, chosen: str, before: str) -> None:
    """Send the editor the changes that a prompt made to the model, the commands and the title.

    The title of a session is sent after its first turn.

    Args:
        chosen: the name of the chat model that is chosen after the prompt; "" for the default.
        before: the name of the chat model that was chosen before the prompt.
    """
    if chosen != before:
        session.model = chosen
        name, options = "config_option_update", _options(session)
        editor.send(schema.ConfigOptionUpdate(session_update=name, config_options=options))
    commands = _commands(session.app.catalogue)
    if session.commands and commands != session.commands:
        session.commands = commands
        editor.send(helpers.update_available_commands(commands))
    store, number = session.conversation.store, session.conversation.session
    if number is None or store.broken:
        return
    try:
        stored = store.get(number)
    except errors.NothingFound:  # raised if the session cannot be read, or was deleted
        return
    if stored.turns == 1:
        name, title, at = "session_info_update", stored.title, stored.used_at
        editor.send(schema.SessionInfoUpdate(session_update=name, title=title, updated_at=at))
