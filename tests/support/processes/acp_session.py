"""`agent.py acp` as a process, and the package's own client connected to it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import acp
from acp import schema
from agent_process import environment_of

from harness.settings import CODE_ROOT
from harness.testing import FAKE_REGISTRY

PLUGIN = """
import os
import time
from pathlib import Path

from harness import Result, Skill, SkillOptions, ToolCall, hookimpl
from harness.testing import FakeBackend, FakeModel, calling


class Rows(Skill):
    name = "rows"
    summary = "Does some rows of work"
    text = "optional"
    usage = "TABLE"
    saves = (".txt",)
    triggers = (r"do (?P<text>\\w+) please",)

    class Options(SkillOptions):
        rows: int = 3

    def effects(self, options, subcommand):
        return "does rows"

    def run(self, call):
        print("a print of a skill")
        os.system("echo an output of a child")
        call.screen.notice("the rows begin")
        for number in range(call.options.rows):
            if call.cancel.wait(0.01):
                Path("stopped").write_text(str(number))
                call.cancel.check()
            with Path("done").open("a") as file:
                file.write(".")
            call.screen.report(number + 1, call.options.rows, f"row {number + 1}")
        return Result("done", {"rows": call.options.rows}, {".txt": lambda: "the result"})


def reply(request):
    last = request.messages[-1]
    if last.role == "tool":
        return f"It says {last.content}"
    name, _, arguments = last.content.partition(" ")
    if arguments.startswith("{"):
        return calling(ToolCall(name, arguments), text="I call it.")
    return f"You said: {last.content}"


@hookimpl
def register_skills(register):
    register(Rows())


@hookimpl
def register_backends(register):
    register(FakeBackend(FakeModel(reply, takes_tools=True, context=100_000)))
"""


def make_project(folder: Path) -> Path:
    """Write the user's skills: /rows, and a model that calls what it is told; return the project.

    The model calls the tool of a message such as `read_file {"path": "a.txt"}`.
    """
    skill = folder / "config" / "skills" / "rows"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: rows\ndescription: For tests.\n---\n")
    (skill / "plugin.py").write_text(PLUGIN)
    (folder / "registry.yaml").write_text(FAKE_REGISTRY)
    project = folder / "project"
    project.mkdir()
    return project


@dataclass
class User:
    """An editor and its user.

    Attributes:
        answer: the kind of the option that the user chooses, "" to close the question, or "never".
        said: the answer to a question in a form; None to decline.
        open: the files with changes that are not saved.
        refuses: True if the editor refuses to read and write files.
        on_update: called with each update.
        updates: the updates in order.
        asked: the requests for permission, each as title and text, and the kinds of its options.
        forms: the questions with their schemas.
        written: the files that the agent has written.
    """

    answer: str = "allow_once"
    said: str | None = None
    open: dict[str, str] = field(default_factory=dict)
    refuses: bool = False
    on_update: Callable[[Any], None] = lambda update: None
    updates: list[Any] = field(default_factory=list)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    forms: list[tuple[str, Any]] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)
        self.on_update(update)

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **_: Any
    ) -> schema.RequestPermissionResponse:
        text = "\n".join([tool_call.title, *(one.content.text for one in tool_call.content or ())])
        self.asked.append((text, [option.kind for option in options]))
        if self.answer == "never":
            await asyncio.Event().wait()
        chosen = [option.option_id for option in options if option.kind == self.answer]
        outcome: Any = schema.DeniedOutcome(outcome="cancelled")
        if chosen:
            outcome = schema.AllowedOutcome(outcome="selected", option_id=chosen[0])
        return schema.RequestPermissionResponse(outcome=outcome)

    async def create_elicitation(self, message: str, mode: Any, **_: Any) -> Any:
        self.forms.append((message, mode.requested_schema))
        if self.said is None:
            return schema.DeclineElicitationResponse(action="decline")
        return schema.AcceptElicitationResponse(action="accept", content={"answer": self.said})

    async def read_text_file(self, path: str, **_: Any) -> schema.ReadTextFileResponse:
        if self.refuses:
            raise acp.RequestError(-32000, "it is private")
        text = self.open.get(path)
        content = Path(path).read_text() if text is None else text
        return schema.ReadTextFileResponse(content=content)

    async def write_text_file(self, path: str, content: str, **_: Any) -> None:
        if self.refuses:
            raise acp.RequestError(-32000, "it is private")
        self.written[path] = content
        Path(path).write_text(content)

    def texts(self, kind: str = "agent_message_chunk") -> str:
        """Return the text of all updates of a kind."""
        return "".join(one.content.text for one in self.updates if one.session_update == kind)

    def calls(self) -> list[tuple[str, str]]:
        """Return the status and the text of each update of a tool call."""
        return [
            (
                one.status,
                "".join(
                    block.content.text if block.type == "content" else f"diff {block.new_text}"
                    for block in one.content or ()
                ),
            )
            for one in self.updates
            if one.session_update.startswith("tool_call")
        ]


CAPABILITIES = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=True),
    elicitation=schema.ElicitationCapabilities(form=schema.ElicitationFormCapabilities()),
)


@dataclass
class Thread:
    """A session of the editor."""

    agent: Any
    id: str
    user: User

    async def say(self, *blocks: Any) -> str:
        """Send a prompt of texts and blocks after forgetting the updates; return its end."""
        for seen in (self.user.updates, self.user.asked, self.user.forms):
            seen.clear()
        prompt = [acp.text_block(one) if isinstance(one, str) else one for one in blocks]
        return str((await self.agent.prompt(session_id=self.id, prompt=prompt)).stop_reason)


def command(*general: str) -> list[str]:
    """Return the command that starts the agent."""
    return [sys.executable, str(CODE_ROOT / "agent.py"), *general, "acp"]


@asynccontextmanager
async def connected(
    folder: Path, user: User, *general: str, capabilities: Any = CAPABILITIES
) -> AsyncIterator[tuple[Any, Any]]:
    """Start an agent with its data in `folder`, and connect an editor to it.

    Args:
        general: options before `acp`.
    """
    environment = environment_of(folder)
    with (folder / "stderr").open("a") as errors:
        streams = {"stderr": errors, "limit": 10_000_000, "shutdown_timeout": 20.0}
        client: Any = user
        started = acp.spawn_agent_process(
            client,
            *command(*general),
            env=environment,
            cwd=folder,
            transport_kwargs=streams,
            use_unstable_protocol=True,
        )
        async with started as (agent, process):
            about = await agent.initialize(protocol_version=1, client_capabilities=capabilities)
            yield agent, about
        assert process.returncode == 0
