"""/sessions, /resume, /compact, /clear, /exit, /quit, /reload, /logs and /permissions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.api.skill import Call, Result, SkillOptions
from harness.chat.conversation import as_text
from harness.cli.app_command import AppCommand, CommandData
from harness.errors import NothingFound, UsageError
from harness.permissions import Always
from harness.plugins.trust import TrustStore
from harness.sessions import Session
from harness.support.sqlite import row_id
from harness.terminal.console import render_markdown
from harness.terminal.rendering import table

if TYPE_CHECKING:
    from harness.chat.conversation import Conversation
    from harness.cli.app import App
    from harness.models.served import ServedModel

SUMMARIZED = "Summary of the earlier turns, made by the model:"
SHOWN = 60
"""Maximum number of characters of a title, an excerpt or a line in a list."""
OFFERED = 20
"""Maximum number of sessions that completion offers."""


class SessionList(CommandData):
    sessions: list[Session]

    def as_table(self, *, with_folder: bool) -> str:
        """Return a table of the sessions (at least one), with excerpts after a search for words.

        Args:
            with_folder: True to add a column with the folder of each session.
        """
        found = self.sessions
        columns = {
            "session": [str(one.id) for one in found],
            "last used": [one.used_at[:19] for one in found],
            "turns": [str(one.turns) for one in found],
            "begins with": [one.title[:SHOWN] for one in found],
        }
        if found[0].excerpt:
            columns["found"] = [one.excerpt[:SHOWN] for one in found]
        if with_folder:
            columns["folder"] = [one.project for one in found]
        return table([*columns], [*zip(*columns.values(), strict=True)])


class Sessions(AppCommand):
    """The command /sessions, which lists or searches the stored sessions of this folder."""

    name = "sessions"
    summary = "List the conversations of this folder, or search them for words"
    usage = "WORDS"
    details = """\
    A search also finds longer words that begin with the given words. `/resume SESSION` continues a
    conversation."""
    text = "optional"
    output = SessionList

    class Options(SkillOptions):
        all: bool = Field(False, description="also list the sessions of other folders")
        limit: int = Field(20, ge=1, description="maximum number of sessions to list")
        show: int | None = Field(
            None, ge=1, description="print the turns and summaries of the session with this number"
        )

    def run(self, call: Call) -> Result:
        conversation = self._app.conversation
        if call.options.show is not None:
            return self._shown(call.options.show)
        project = None if call.options.all else conversation.project
        words = call.text.strip()
        found = SessionList(sessions=conversation.store.found(words, project, call.options.limit))
        if found.sessions:
            return found.as_result(found.as_table(with_folder=call.options.all))
        if words:
            raise NothingFound(
                f"no session contains {words!r}", hint="`/sessions` lists the sessions."
            )
        return found.as_result("No sessions yet.")

    def _shown(self, number: int) -> Result:
        """Return the transcript of a session; the results of tools are only in `Result.data`."""
        store = self._app.conversation.store
        session = store.get(number)
        parts, turns = [f"session {number}: {session.title}"], []
        for _, covers, messages in store.transcript(number):
            if covers:
                parts.append(f"--- {SUMMARIZED}\n\n{messages[-1].content}\n\n---")
            else:
                parts += [as_text(message) for message in messages if message.role != "tool"]
            shown = [{"role": message.role, "text": message.content} for message in messages]
            turns.append({"is_summary": bool(covers), "messages": shown})
        return Result("\n\n".join(parts), {"session": number, "turns": turns})


class Resume(AppCommand):
    """The command /resume, which continues a session with the present permissions and model."""

    name = "resume"
    summary = "Continue the last conversation of this folder, or a chosen conversation"
    usage = "SESSION"
    details = """\
    `agent.py -c LINE` does the same for one line. Your current trust, permissions and model apply.
    If the session asked you before changes, it continues to ask, and --yes is refused."""
    text = "optional"

    def completions(self, option: str, subcommand: str) -> Mapping[str, str]:
        conversation = self._app.conversation
        found = conversation.store.found("", conversation.project, OFFERED)
        return {} if option else {str(session.id): session.title for session in found}

    def run(self, call: Call) -> Result:
        given = call.text.strip()
        number = row_id(given)
        if given and number is None:
            raise UsageError(
                f"{given[:40]!r} is not the number of a session",
                hint="`/sessions` lists the sessions.",
            )
        conversation = self._app.conversation
        session = conversation.resume(number)
        text = f"{_summary(session)}\n\n{_end(conversation)}".strip()
        [data] = SessionList(sessions=[session]).model_dump(mode="json")["sessions"]
        return Result(text, data, terminal=lambda: render_markdown(text))


def go_on(app: App) -> None:
    """Continue the last session of the folder, for `agent.py --continue`.

    An interactive session also shows the summary, if any, and the last message. If the stored
    sessions cannot be read, a new session begins; the session store has already reported the error.

    Raises:
        NothingFound: there is no session.
    """
    conversation = app.conversation
    try:
        app.screen.notice(_summary(conversation.resume()))
    except NothingFound:
        if not conversation.store.broken:
            raise
        return
    if app.frontend.name == "repl":
        app.screen.show(render_markdown(_end(conversation)))


def _end(conversation: Conversation) -> str:
    """Return the summary and the last message of a conversation; "" if it has no messages."""
    messages = [message.content for message in conversation.messages if message.role != "tool"]
    summary = conversation.summary
    last = messages[-1:] if messages[2:] or not summary else []
    return "\n\n".join([*([f"{SUMMARIZED}\n\n{summary}"] if summary else ()), *last])


def _summary(session: Session) -> str:
    """Return a line about a session that is continued."""
    turns = f"{session.turns} turn{'s' * (session.turns != 1)}"
    return f"session {session.id} continues ({turns}): {session.title}"


class Compacted(CommandData):
    """The result of /compact: the number of summarized turns, and the summary."""

    turns: int
    summary: str


class Compact(AppCommand):
    """The command /compact, which replaces the conversation with a summary by the model."""

    name = "compact"
    summary = "Replace the conversation with the model's summary of it, to save context"
    usage = "WISHES"
    details = """\
    WISHES tell the model what to keep in the summary, such as: keep the names of the files. The
    turns stay in the stored session; `/sessions --show SESSION` prints them with the summaries.
    Without new turns, the present summary is shown. A conversation that becomes too long is
    summarized automatically."""
    text = "optional"
    output = Compacted
    logged = True

    def run(self, call: Call) -> Result:
        conversation = self._app.conversation
        if not conversation.messages:
            raise NothingFound(
                "there is no conversation to summarize",
                hint="`/resume` continues a stored conversation.",
            )
        conversation.check_rights(yes=call.yes)
        turns = 0
        if not conversation.summary or conversation.messages[2:]:
            focus, asked = call.text.strip(), not call.yes

            def work(model: ServedModel) -> int:
                with call.screen.progress("summarizing the conversation"):
                    return conversation.compact(model, focus=focus, asked=asked)

            turns = call.models.run("chat", work)
        found = Compacted(turns=turns, summary=conversation.summary)
        return found.as_result(found.summary, terminal=lambda: render_markdown(found.summary))


class Reloaded(CommandData):
    """The names of the skills after /reload.

    Attributes:
        skills: the loaded skills.
        new: the skills that /reload has added.
        gone: the skills that /reload has removed, except plugins that are no longer trusted.
        untrusted: the plugins that the user has not trusted.
        failed: the plugins that could not be loaded.
    """

    skills: list[str]
    new: list[str]
    gone: list[str]
    untrusted: list[str]
    failed: list[str]


class Reload(AppCommand):
    """The command /reload, which reads the registry and loads the skills again."""

    name = "reload"
    summary = "Read the registry and the skills' folders again"
    details = """\
    Skills in folders and pip-installed skills are imported again, with their modules. Built-in
    skills, and packages installed with `pip install --editable` since the start, need a restart.
    Loaded models are freed, and the servers of mcp.json start again when they are needed."""
    text = "none"
    output = Reloaded

    def run(self, call: Call) -> Result:
        before = set(self._app.catalogue.skills)
        self._app.reload()
        self._app.stop_servers()
        after = self._app.catalogue
        found = Reloaded(
            skills=sorted(after.skills),
            new=sorted(set(after.skills) - before),
            gone=sorted(before - {*after.skills, *after.untrusted}),
            untrusted=sorted(after.untrusted),
            failed=[failure.name for failure in after.failures],
        )
        lines = [
            f"{len(found.skills)} skills, {len(self._app.pool.registry.models)} models",
            *(f"new: /{name}" for name in found.new),
            *(f"gone: /{name}" for name in found.gone),
            *(f"not trusted: /{n}; read it, then `/skills trust {n}`" for n in found.untrusted),
        ]
        return found.as_result("\n".join(lines))


class Exit(AppCommand):
    """The command /exit, which ends the session like Ctrl-D."""

    name = "exit"
    summary = "End the session"
    text = "none"

    def run(self, call: Call) -> Result:
        return Result(leave=True)


class Quit(Exit):
    """The command /quit, an alias of /exit."""

    name = "quit"
    summary = "End the session, as /exit does"


class Clear(AppCommand):
    """The command /clear, which starts a new conversation and clears the screen."""

    name = "clear"
    summary = "Begin a new conversation and clear the screen"
    text = "none"

    def run(self, call: Call) -> Result:
        self._app.conversation.forget()
        self._app.screen.clear()
        return Result("A new conversation begins.")


class RunList(CommandData):
    """The runs of the run log, latest first, with the columns of the log."""

    runs: list[dict[str, Any]]


class Logs(AppCommand):
    """The command /logs, which shows the run log, latest run first, or a single run."""

    name = "logs"
    summary = "List the latest runs, or show a run in full"
    usage = "RUN"
    text = "optional"
    subcommands = {"path": "print the path of the run log"}

    class Options(SkillOptions):
        limit: int = Field(20, ge=1, description="maximum number of runs to list")

    def run(self, call: Call) -> Result:
        log = self._app.run_log
        if call.subcommand == "path":
            return Result(str(log.path), {"path": str(log.path)})
        given = call.text.strip()
        if not given:
            recent = RunList(runs=log.recent(call.options.limit))
            return recent.as_result(_run_table(recent.runs) if recent.runs else "No runs yet.")
        if (number := row_id(given)) is None:
            raise UsageError(
                f"{given[:40]!r} is not the number of a run", hint="`/logs` lists the runs."
            )
        if (found := log.get(number)) is None:
            raise NothingFound(f"there is no run {number}", hint="`/logs` lists the runs.")
        lines = []
        for name, value in found.items():
            if value not in (None, [], "{}"):
                shown = json.dumps(value) if isinstance(value, list) else str(value)
                lines.append(f"{name}:\n{shown}" if "\n" in shown else f"{name}: {shown}")
        return Result("\n".join(lines), found)


def _run_table(runs: list[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        tokens = f"{run['prompt_tokens']} + {run['completion_tokens']}"
        row = run["id"], run["started_at"], run["status"], run["resolved"]
        line = " ".join(run["line"].split())[:SHOWN]
        rows.append((*row, tokens if run["generations"] else "", line))
    return table(("run", "started", "status", "model", "tokens", "line"), rows)


class NumberedAnswer(Always):
    """An "always" answer, and the number of the answer for `/permissions revoke`."""

    number: int


class ProjectPermissions(CommandData):
    project: str
    allowed: list[NumberedAnswer]


class PermissionsCommand(AppCommand):
    """The command /permissions, which lists and revokes "always" answers, and trusts hooks."""

    name = "permissions"
    summary = "List or revoke what models may do in this project without asking"
    usage = "[NUMBER|all]"
    text = "optional"
    subcommands = {
        "revoke": "revoke the answer with this NUMBER, or all answers",
        "trust": "trust the project's .agents/hooks.json in its current state",
    }
    output = {"": ProjectPermissions}

    def run(self, call: Call) -> Result:
        answers = self._app.permissions.answers
        known = answers.given()
        if damage := answers.damage():
            call.screen.notice(damage)
        given = call.text.strip()
        if call.subcommand == "trust":
            path = call.settings.project_hooks
            if not path.is_file():
                raise NothingFound("this project has no hooks", where=str(path))
            TrustStore(call.settings.trust_file).trust(path)
            return Result(f"{path}: trusted in its current state.", {"trusted": str(path)})
        if call.subcommand != "revoke":
            if given:
                raise UsageError(
                    f"/permissions takes no text, but found {given[:40]!r}",
                    hint="`/permissions revoke NUMBER` revokes an answer.",
                )
            allowed = [
                NumberedAnswer(number=number, **one.model_dump())
                for number, one in enumerate(known, start=1)
            ]
            found = ProjectPermissions(project=str(call.settings.project_dir), allowed=allowed)
            rows = [(one.number, one) for one in allowed]
            shown = table(("", "allowed in this project"), rows) if rows else "Nothing is allowed."
            return found.as_result(shown)
        if given == "all":
            revoked = known
        elif 0 < (row_id(given) or 0) <= len(known):
            revoked = [known[int(given) - 1]]
        else:
            raise UsageError(
                f"{given[:40]!r} is not the number of a permission",
                hint="`/permissions` lists the permissions.",
            )
        answers.remove(revoked)
        text = "\n".join(f"Revoked: {one}" for one in revoked) or "Nothing was allowed."
        return Result(text, {"revoked": [one.model_dump() for one in revoked]})


COMMANDS = (Reload, Logs, PermissionsCommand, Sessions, Resume, Compact, Clear, Exit, Quit)
