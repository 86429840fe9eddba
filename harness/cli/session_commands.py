"""/sessions, /resume, /clear, /exit, /quit, /reload, /logs and /permissions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.api.skill import Call, Result, SkillOptions
from harness.cli.app_command import AppCommand
from harness.errors import NothingFound, UsageError
from harness.sessions import Session
from harness.terminal.console import render_markdown
from harness.terminal.rendering import table

if TYPE_CHECKING:
    from harness.chat.conversation import Conversation
    from harness.cli.services import Services

SHOWN = 60
"""Characters of a title, an excerpt or a line in a list."""
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
        text = _session_list(found, with_folder=call.options.all) if found else "No sessions yet."
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


def go_on(app: Services) -> None:
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


def _session_list(sessions: list[Session], *, with_folder: bool) -> str:
    head = ["session", "last used", "turns", "begins with"]
    rows = [[s.id, s.used_at[:19], s.turns, s.title[:SHOWN]] for s in sessions]
    if any(session.excerpt for session in sessions):
        head.append("found")
        rows = [[*row, s.excerpt[:SHOWN]] for row, s in zip(rows, sessions, strict=True)]
    if with_folder:
        head.append("folder")
        rows = [[*row, s.project] for row, s in zip(rows, sessions, strict=True)]
    return table(head, rows)


class Reload(AppCommand):
    """Reloads skills and registry, for their authors."""

    name = "reload"
    summary = "Read the registry and the skills' folders again"
    details = """\
    Skills in folders and pip-installed skills are imported again, with their modules. Built-in
    skills, and packages installed with `pip install --editable` since the start, need a restart.
    Loaded models are freed, and the servers of mcp.json start again when they are needed."""
    text = "none"

    def run(self, call: Call) -> Result:
        before = set(self._app.catalogue.skills)
        self._app.reload()
        self._app.stop_servers()
        after = self._app.catalogue
        new, waiting = sorted(set(after.skills) - before), sorted(after.untrusted)
        gone = sorted(before - {*after.skills, *waiting})
        lines = [f"{len(after.skills)} skills, {len(self._app.pool.registry.models)} models"]
        lines += [f"new: /{name}" for name in new] + [f"gone: /{name}" for name in gone]
        lines += [f"not trusted: /{name}; read it, then `/skills trust {name}`" for name in waiting]
        data = {"skills": sorted(after.skills), "new": new, "gone": gone, "untrusted": waiting}
        return Result("\n".join(lines), {**data, "failed": [f.name for f in after.failures]})


class Exit(AppCommand):
    """Ends the session, as Ctrl-D does."""

    name = "exit"
    summary = "End the session"
    text = "none"

    def run(self, call: Call) -> Result:
        return Result(leave=True)


class Quit(Exit):
    """The same under the name that other programs use."""

    name = "quit"
    summary = "End the session, as /exit does"


class Clear(AppCommand):
    """Starts a new conversation, as in other clients."""

    name = "clear"
    summary = "Begin a new conversation and clear the screen"
    text = "none"

    def run(self, call: Call) -> Result:
        self._app.conversation.forget()
        self._app.screen.clear()
        return Result("A new conversation begins.")


class Logs(AppCommand):
    """Shows the run log, newest first, or one run."""

    name = "logs"
    summary = "List the newest runs, or show one in full"
    usage = "RUN"
    text = "optional"
    subcommands = {"path": "print the path of the run log"}

    class Options(SkillOptions):
        limit: int = Field(20, ge=1, description="number of runs to list")

    def run(self, call: Call) -> Result:
        log = self._app.run_log
        if call.subcommand == "path":
            return Result(str(log.path), {"path": str(log.path)})
        number = call.text.strip()
        if not number:
            runs = log.recent(call.options.limit)
            return Result(_run_list(runs) if runs else "No runs yet.", {"runs": runs})
        if not number.isdigit():
            raise UsageError(f"{number!r} is not the number of a run", hint="`/logs` lists them.")
        run = log.get(int(number))
        if run is None:
            raise NothingFound(f"there is no run {number}", hint="`/logs` lists them.")
        return Result(_run_in_full(run), run)


def _run_list(runs: list[dict[str, Any]]) -> str:
    rows = [
        (
            run["id"],
            run["started_at"],
            run["status"],
            run["resolved"],
            _tokens(run),
            " ".join(run["line"].split())[:SHOWN],
        )
        for run in runs
    ]
    return table(("run", "started", "status", "model", "tokens", "line"), rows)


def _tokens(run: dict[str, Any]) -> str:
    if not run["generations"]:
        return ""
    return f"{run['prompt_tokens']} + {run['completion_tokens']}"


def _run_in_full(run: dict[str, Any]) -> str:
    lines = []
    for name, value in run.items():
        if value in (None, [], "{}"):
            continue
        shown = json.dumps(value) if isinstance(value, list) else str(value)
        lines.append(f"{name}:\n{shown}" if "\n" in shown else f"{name}: {shown}")
    return "\n".join(lines)


class PermissionsCommand(AppCommand):
    """Lists and revokes "always" answers."""

    name = "permissions"
    summary = "List or revoke what models may do in this project without asking"
    usage = "[NUMBER|all]"
    text = "optional"
    subcommands = {"revoke": "forget one of the answers, or all of them"}

    def run(self, call: Call) -> Result:
        answers = self._app.permissions.answers
        known = answers.given()
        if damage := answers.damage():
            call.screen.notice(damage)
        given = call.text.strip()
        if call.subcommand != "revoke":
            if given:
                raise UsageError(f"/permissions takes no {given[:40]!r}", hint="`/permissions`")
            data = [{"number": n, **one.model_dump()} for n, one in enumerate(known, start=1)]
            rows = [(str(number), str(one)) for number, one in enumerate(known, start=1)]
            text = table(("", "allowed in this project"), rows) if rows else "Nothing is allowed."
            return Result(text, {"project": str(call.settings.project_dir), "allowed": data})
        if given == "all":
            revoked = known
        elif given.isdigit() and 0 < int(given) <= len(known):
            revoked = [known[int(given) - 1]]
        else:
            raise UsageError(f"{given!r} is not the number of an answer", hint="`/permissions`")
        answers.remove(revoked)
        text = "\n".join(f"Revoked: {one}" for one in revoked) or "Nothing was allowed."
        return Result(text, {"revoked": [one.model_dump() for one in revoked]})
