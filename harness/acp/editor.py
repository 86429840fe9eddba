"""An editor as the frontend of a prompt: output, questions to the user, and text files.

`Editor.stop` is called in the thread of the event loop. The other methods are called in other
threads, and wait until a message is written or a request is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from acp import RequestError, helpers, schema
from acp.interfaces import Client
from pydantic import ValidationError

from harness.chat.conversation import fenced
from harness.errors import HarnessError, InputError, Interrupted, NotAllowed, OutputError
from harness.permissions import NO, YES
from harness.redaction import redact
from harness.runs.frontend import Frontend
from harness.support.bounded_http import error_text
from harness.support.text_input import well_formed
from harness.terminal.console import Progress, Screen
from harness.terminal.streams import ESCAPES

T = TypeVar("T")
ANSWER = "answer"
EVERY = 0.1
"""Minimum number of seconds between two reports of progress."""
LINES = 50
"""Maximum number of notices that a tool call shows; earlier notices are left out."""
LONGEST = 20_000
"""Maximum number of characters of a result, a stored message, or the notices of a tool call."""
_OPTIONS: dict[str, schema.PermissionOptionKind] = {YES: "allow_once", NO: "reject_once"}
_KINDS: dict[str, schema.ToolKind] = {"read_file": "read", "write_file": "edit"}
_numbers = itertools.count(1)


@dataclass(slots=True)
class ToolCall:
    """A command, a tool call of the model, or a question, which the editor shows as a tool call.

    Attributes:
        lines: the notices during the call.
        progress: the latest progress, or "".
        changes: the changes that the call has made to files.
    """

    id: str
    title: str
    lines: list[str] = field(default_factory=list)
    progress: str = ""
    changes: list[Any] = field(default_factory=list)


def as_content(text: str) -> list[Any]:
    """Return a Markdown text as the content of a tool call; [] for an empty text."""
    return [helpers.tool_content(helpers.text_block(text))] if text else []


def shown(text: str) -> str:
    """Return text as Markdown, cut off after `LONGEST` characters.

    A text of several lines becomes a code block.
    """
    more = len(text) - LONGEST
    text = well_formed(text[:LONGEST]) + f"\n... ({more:,} more characters)" * (more > 0)
    return fenced(text) if "\n" in text else text


class Editor:
    """The editor for one prompt of a session.

    Args:
        client: the editor's side of the connection.
        capabilities: the requests that the editor supports.
        session: the id of the session.
        title: the line of the prompt; a command is shown as a tool call with this title.

    Attributes:
        cancel: an event that stops the run when it is set.
    """

    def __init__(
        self, client: Client, capabilities: schema.ClientCapabilities, session: str, title: str
    ) -> None:
        self._client, self._can, self._session = client, capabilities, session
        self.title, self._loop = title, asyncio.get_running_loop()
        self._calls: list[ToolCall] = []
        self._reported, self._turn = 0.0, threading.RLock()
        self._waiting: Future[Any] | None = None
        self._has_text = False
        self.cancel = threading.Event()

    @property
    def frontend(self) -> Frontend:
        return Frontend("acp", self.confirm, choose=self.choose, ask=self.ask, files=self)

    def stop(self) -> None:
        """Stop the run, and cancel the request that the editor has not answered, if any."""
        self.cancel.set()
        if (waiting := self._waiting) is not None:
            waiting.cancel()

    def _request(
        self,
        request: Coroutine[Any, Any, T],
        problem: str = "the editor could not ask the user",
        refused: type[HarnessError] = NotAllowed,
    ) -> T:
        """Send a request to the editor, and return its answer.

        Args:
            problem: the beginning of the error message.
            refused: the class of the error for a refused request or an invalid answer.

        Raises:
            HarnessError: the editor refuses the request, or sends an invalid answer.
            Interrupted: the prompt was cancelled, or the editor has disconnected.
        """
        self._waiting = future = asyncio.run_coroutine_threadsafe(request, self._loop)
        if self.cancel.is_set():
            future.cancel()
        try:
            return future.result()
        except (CancelledError, ConnectionError) as exc:
            raise Interrupted("interrupted") from exc
        except ValidationError as exc:
            raise refused(f"{problem}: its answer is invalid") from exc
        except RequestError as exc:
            reason = f"{exc} ({error_text(exc.data)})" if exc.data else str(exc)
            raise refused(f"{problem}: {reason}") from exc
        finally:
            self._waiting = None

    def send(self, update: Any) -> None:
        """Send an update, unless the editor has disconnected."""
        sent = self._client.session_update(session_id=self._session, update=update)
        with contextlib.suppress(CancelledError, ConnectionError):
            asyncio.run_coroutine_threadsafe(sent, self._loop).result()

    def append(self, text: str) -> None:
        """Show a part of the answer."""
        self._has_text = True
        self.send(helpers.update_agent_message_text(well_formed(text)))

    def append_paragraph(self, text: str) -> None:
        """Add a text to the answer as a separate paragraph."""
        self.append(f"\n\n{text}" if self._has_text else text)

    def note(self, text: str) -> None:
        """Show a notice in the open tool call, or as a thought of the agent if no call is open."""
        text = well_formed(text)
        with self._turn:
            if self._calls:
                self._calls[-1].lines.append(text)
                self._refresh()
            else:
                self.send(helpers.update_agent_thought_text(f"{text}\n\n"))

    def report(self, event: Progress) -> None:
        """Show the progress of a job in a tool call, at most every `EVERY` seconds and at the end.

        Skills may call this method in any thread.
        """
        with self._turn:
            if not self._calls and event.total is not None:
                self.begin(self.title)
            early = time.monotonic() - self._reported < EVERY and event.done != event.total
            if not self._calls or early:
                return
            self._reported = time.monotonic()
            self._calls[-1].progress = event.message or f"{event.done:g}"
            self._refresh()

    def begin(self, title: str, kind: schema.ToolKind = "execute") -> None:
        """Show that a command, a tool call or a question begins."""
        call = ToolCall(f"call_{next(_numbers)}", title)
        self._calls.append(call)
        self.send(helpers.start_tool_call(call.id, title, kind=kind, status="in_progress"))

    def end(self, result: str, *, failed: bool, saved: Sequence[Path] = ()) -> None:
        """End the call that began last, and show its result."""
        with self._turn:
            call = self._calls.pop()
            self._update(call, call.title, "failed" if failed else "completed", result, saved)

    def end_all(self, result: str, *, failed: bool, saved: Sequence[Path] = ()) -> None:
        """End all open calls, for example after an error, and show `result` for each call."""
        while self._calls:
            self.end(result, failed=failed, saved=saved)

    def _refresh(self) -> None:
        call = self._calls[-1]
        # The progress is part of the title, since the editor may hide the content.
        title = " · ".join(filter(None, (call.title, call.progress)))
        self._update(call, title, "in_progress")

    def _update(
        self,
        call: ToolCall,
        title: str,
        status: schema.ToolCallStatus,
        result: str = "",
        saved: Sequence[Path] = (),
    ) -> None:
        """Send the state of a call.

        The content is the changes of files, or, without changes, the notices and the result or
        progress.
        """
        lines = filter(None, (*call.lines[-LINES:], result or call.progress))
        content = [*call.changes] or as_content(shown("\n".join(lines)))
        paths = [well_formed(str(path.absolute())) for path in saved]
        places = [schema.ToolCallLocation(path=path) for path in paths] or None
        self.send(
            helpers.update_tool_call(
                call.id, title=title, status=status, content=content, locations=places
            )
        )

    def confirm(self, question: str) -> bool:
        return self._permitted(question, (YES, NO)) == YES

    def choose(self, question: str, choices: Sequence[str]) -> str:
        """Ask the user to choose an answer, and return the answer.

        Without an answer, the result is "no" for a request for permission, otherwise "".
        """
        consents = tuple(choices[:2]) == (YES, NO)
        answer = (self._permitted if consents else self.ask)(question, choices)
        return answer if answer in choices else ""

    def _permitted(self, question: str, choices: Sequence[str]) -> str:
        detail, _, asked = question.rpartition("\n")
        if alone := not self._calls:
            self.begin(asked, "other")
        call = self._calls[-1]
        parts = [fenced(detail, "diff") if detail else "", "" if alone else asked]
        content = as_content("\n\n".join(filter(None, parts)))
        update = schema.ToolCallUpdate(
            tool_call_id=call.id, title=call.title, status="pending", content=content
        )
        options = [
            schema.PermissionOption(
                option_id=choice, name=choice, kind=_OPTIONS.get(choice, "allow_always")
            )
            for choice in choices
        ]
        request = self._client.request_permission(
            session_id=self._session, tool_call=update, options=options
        )
        outcome = self._request(request).outcome
        given = outcome.option_id if isinstance(outcome, schema.AllowedOutcome) else NO
        if alone:
            self.end(given, failed=given == NO)
        else:
            self._refresh()
        return given

    def ask(self, question: str, choices: Sequence[str] = ()) -> str:
        """Ask the user for a text, or for one of `choices`; return "" if there is no answer.

        Raises:
            NotAllowed: the editor does not support or refuses the question, or its answer is
                invalid.
        """
        if self._can.elicitation is None or self._can.elicitation.form is None:
            raise NotAllowed(
                "this editor cannot ask the user: it does not support elicitation",
                hint="Continue without an answer if possible, and state your assumptions.",
            )
        answer = schema.ElicitationStringPropertySchema(
            type="string", title="Answer", enum=[*choices] or None
        )
        form = schema.ElicitationSchema(properties={ANSWER: answer}, required=[ANSWER])
        mode = schema.ElicitationFormSessionMode(session_id=self._session, requested_schema=form)
        found = self._request(self._client.create_elicitation(message=question, mode=mode))
        content = found.content if isinstance(found, schema.AcceptElicitationResponse) else None
        given = (content or {}).get(ANSWER)
        return well_formed(given).strip() if isinstance(given, str) else ""

    def read(self, path: Path) -> str | None:
        if self._can.fs is None or not self._can.fs.read_text_file:
            return None
        request = self._client.read_text_file(session_id=self._session, path=str(path))
        problem = f"{path}: the editor did not read it"
        return well_formed(self._request(request, problem, InputError).content)

    def write(self, path: Path, text: str, before: str | None) -> bool:
        if self._can.fs is None or not self._can.fs.write_text_file:
            return False
        request = self._client.write_text_file(
            session_id=self._session, path=str(path), content=text
        )
        self._request(request, f"{path}: the editor did not write it", OutputError)
        if self._calls:
            self._calls[-1].changes.append(helpers.tool_diff_content(str(path), text, before))
        return True


class EditorText(io.StringIO):
    """A stream that sends each piece of a result to the editor immediately."""

    def __init__(self, editor: Editor) -> None:
        super().__init__()
        self._editor = editor

    def write(self, text: str) -> int:
        self._editor.append(text)
        return len(text)


class EditorScreen(Screen):
    """The output of a prompt."""

    def __init__(self, editor: Editor) -> None:
        super().__init__(EditorText(editor), on_progress=editor.report)
        self._editor = editor

    @property
    def is_reserved(self) -> bool:
        return self.quiet_results or not isinstance(self.out, EditorText)

    def notice(self, text: str) -> None:
        self._editor.note(redact(text).translate(ESCAPES))

    def begin_call(self, tool: str, line: str) -> None:
        self._editor.begin(line.translate(ESCAPES), _KINDS.get(tool, "execute"))

    def end_call(self, content: str, *, failed: bool) -> None:
        self._editor.end(content, failed=failed)
