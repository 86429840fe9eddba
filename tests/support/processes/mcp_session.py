"""`agent.py mcp` as a process, and the official client connected to it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from agent_process import environment_of
from mcp import Client, StdioServerParameters, types
from mcp.client.stdio import stdio_client

from harness.settings import CODE_ROOT
from harness.testing import FAKE_REGISTRY

PLUGIN = """
import os
import time
from pathlib import Path

from pydantic import BaseModel

from harness import Result, Skill, SkillOptions, hookimpl


class Counted(BaseModel):
    rows: int


class Rows(Skill):
    name = "rows"
    summary = "Does some rows of work"
    text = "optional"
    subcommands = {"work": "do rows", "look": "count the rows that are done"}
    saves = (".txt",)
    impact = {"": "adds", "look": "reads"}
    output = Counted

    class Options(SkillOptions):
        rows: int = 3

    def effects(self, options, subcommand):
        return "does rows" if subcommand == "work" else ""

    def run(self, call):
        print("a print of a skill")
        os.system("echo an output of a child")
        done = Path("done")
        if call.subcommand == "look":
            count = len(done.read_text()) if done.exists() else 0
            return Result(str(count), {"rows": count})
        for number in range(call.options.rows):
            if call.cancel.wait(0.01):
                Path("stopped").write_text(str(number))
                call.cancel.check()
            with done.open("a") as file:
                file.write(".")
            call.screen.report(number + 1, call.options.rows, f"row {number + 1}")
        data = {"rows": call.options.rows}
        return Result("done", data, {".txt": lambda: "the result"})


@hookimpl
def register_skills(register):
    register(Rows())
"""
HEADER = "---\nname: {name}\ndescription: For tests.\n---\n"
PROMPTS = {
    "tidy": "Remove what is not needed.",
    "shorten": "Shorten $ARGUMENTS by half.",
    "silent": "",
}
FAKE_BACKEND = """
from harness import hookimpl
from harness.testing import FakeBackend, FakeModel

@hookimpl
def register_backends(register):
    register(FakeBackend(FakeModel("One.")))
"""


def make_project(folder: Path) -> Path:
    """Write the user's skills: /rows, which counts, and prompt skills; return the project."""
    skills = folder / "config" / "skills"
    for name, plugin in (("rows", PLUGIN), ("fake", FAKE_BACKEND)):
        (skills / name).mkdir(parents=True)
        (skills / name / "SKILL.md").write_text(
            f"---\nname: {name}\ndescription: For tests.\n---\n"
        )
        (skills / name / "plugin.py").write_text(plugin)
    for name, body in PROMPTS.items():
        (skills / name).mkdir()
        (skills / name / "SKILL.md").write_text(HEADER.format(name=name) + body)
    (folder / "registry.yaml").write_text(FAKE_REGISTRY)
    return folder


def command(*general: str, skills: str = "") -> list[str]:
    """Return the command that starts the server, for some skills or for all."""
    chosen = ["--skills", skills] if skills else []
    return [sys.executable, str(CODE_ROOT / "agent.py"), *general, "mcp", *chosen]


@asynccontextmanager
async def connected(
    folder: Path,
    mode: str,
    *general: str,
    allow: Callable[[str], Awaitable[bool]] | None = None,
    skills: str = "",
) -> AsyncIterator[Client]:
    """Start a server in `folder`, and connect a client to it.

    Args:
        mode: "legacy" for revision 2025-11-25, or "auto" for the newest one.
        general: options before `mcp`.
        allow: answers the questions of the server; None for a client that cannot ask the user.
        skills: names of the skills to serve, with commas; "" for all.
    """

    async def ask(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert allow is not None
        return types.ElicitResult(action="accept" if await allow(params.message) else "decline")

    program, *arguments = command(*general, skills=skills)
    server = StdioServerParameters(
        command=program, args=arguments, cwd=folder, env=environment_of(folder)
    )
    with (folder / "stderr").open("a") as errors:
        transport = stdio_client(server, errlog=errors)
        callback = None if allow is None else ask
        async with Client(transport, mode=mode, elicitation_callback=callback) as client:
            yield client
