"""/sessions and /resume: stored conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field

from harness.api.skill import Call, Result, SkillOptions
from harness.cli.commands.base import AppCommand
from harness.errors import NothingFound, UsageError
from harness.sessions.store import Session
from harness.terminal.console import render_markdown
from harness.terminal.tables import table

if TYPE_CHECKING:
    from harness.chat.conversation import Conversation
    from harness.cli.app import App

SHOWN = 60
"""Characters of a title or an excerpt in the list."""
OFFERED = 20
"""Sessions that completion offers."""


class Sessions(AppCommand):
    """List the stored sessions of this folder, or search their messages."""

    name = "sessions"
    summary = "List the conversations of this folder, or those that contain some words"
    usage = "WORDS"
    details = "A word may be the beginning of one. `/resume SESSION` goes on with one of them."
    text = "optional"

    class Options(SkillOptions):
        all: bool = Field(False, description="those of all folders")
        limit: int = Field(20, ge=1, description="number of sessions to list")

    def run(self, call: Call) -> Result:
        conversation = self._app.conversation
        project = None if call.options.all else conversation.project
        words = call.text.strip()
        assert conversation.store is not None
        found = conversation.store.found(words, project, call.options.limit)
        if not found and words:
            raise NothingFound(f"no session contains {words!r}", hint="`/sessions` lists them.")
        text = _list(found, with_folder=call.options.all) if found else "No sessions yet."
        return Result(text, {"sessions": [asdict(session) for session in found]})


class Resume(AppCommand):
    """Goes on with a stored session, with the rights of this process or fewer."""

    name = "resume"
    summary = "Go on with the last conversation of this folder, or with a chosen one"
    usage = "SESSION"
    details = """\
    `agent.py -c LINE` does the same for one line. Trust, permissions and the model are those of
    now. A session that asked before changes goes on asking: --yes is refused there."""
    text = "optional"

    def completions(self, option: str, subcommand: str) -> Mapping[str, str]:
        conversation = self._app.conversation
        assert conversation.store is not None
        found = conversation.store.found("", conversation.project, OFFERED)
        return {} if option else {str(session.id): session.title for session in found}

    def run(self, call: Call) -> Result:
        number = call.text.strip()
        if number and not number.isdecimal():
            raise UsageError(
                f"{number[:40]!r} is not the number of a session", hint="`/sessions` lists them."
            )
        conversation = self._app.conversation
        session = conversation.resume(int(number) if number else None)
        text = f"{_summary(session)}\n\n{_last(conversation)}".strip()
        return Result(text, asdict(session), terminal=lambda: render_markdown(text))


def go_on(app: App) -> None:
    """Go on with the last session of the folder, for `agent.py --continue`, and show its end.

    Raises:
        NothingFound: there is none. If the stored ones cannot be read, which has been reported, the
            work goes on with a new one.
    """
    conversation = app.conversation
    try:
        app.screen.notice(_summary(conversation.resume()))
    except NothingFound:
        if conversation.store is None or not conversation.store.broken:
            raise
        return
    if app.frontend.name == "repl":
        app.screen.show(render_markdown(_last(conversation)))


def _last(conversation: Conversation) -> str:
    """Return the last message of the user or the model, or ""."""
    messages = [message for message in conversation.messages if message.role != "tool"]
    return messages[-1].content if messages else ""


def _summary(session: Session) -> str:
    """Return a line about a session that goes on."""
    turns = f"{session.turns} turn{'s' * (session.turns != 1)}"
    return f"session {session.id} goes on ({turns}): {session.title}"


def _list(sessions: list[Session], *, with_folder: bool) -> str:
    head = ["session", "last used", "turns", "begins with"]
    rows = [[s.id, s.used_at[:19], s.turns, s.title[:SHOWN]] for s in sessions]
    if any(session.excerpt for session in sessions):
        head.append("found")
        rows = [[*row, s.excerpt[:SHOWN]] for row, s in zip(rows, sessions, strict=True)]
    if with_folder:
        head.append("folder")
        rows = [[*row, s.project] for row, s in zip(rows, sessions, strict=True)]
    return table(head, rows)
