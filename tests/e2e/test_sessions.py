"""Conversations that outlive the process: real commands and a server over a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_process import environment_of
from protocol_server import ProtocolServer
from terminal_session import PATIENCE, terminal_session

from harness.models.backend import Request
from harness.settings import CODE_ROOT
from harness.testing import FakeModel, calling, tool_call

REGISTRY = """\
version: 1
models:
  producer:
    tasks: [chat]
    serve: [{{backend: ollama, model: smollm2, url: "{url}", context: 16384}}]
"""
ENTER = "\r"


class Agent:
    """The command in a folder, with a producer that answers from a script."""

    def __init__(self, folder: Path, server: ProtocolServer) -> None:
        self.folder, self.server = folder, server
        self.environment = environment_of(folder)
        self.started: list[subprocess.Popen[str]] = []
        self.project = folder / "project"
        self.project.mkdir()
        (folder / "registry.yaml").write_text(REGISTRY.format(url=server.url))

    def start(self, *words: str, cwd: Path | None = None, **given: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(CODE_ROOT / "agent.py"), *words],
            cwd=cwd or self.project,
            env=self.environment | given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, code: int = 0, **given: Any) -> tuple[str, str]:
        """Run the command; return what it has printed to stdout and stderr."""
        process = self.start(*words, **given)
        out, err = process.communicate()
        assert process.returncode == code, err
        return out, err

    @property
    def said(self) -> list[str]:
        """The messages in the last request, without that of the system."""
        body = self.server.bodies("/api/chat")[-1]
        return [m["content"] for m in body["messages"] if m["role"] != "system"]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with ProtocolServer(FakeModel("Noted."), names=("smollm2",)) as server:
        made = Agent(tmp_path, server)
        try:
            yield made
        finally:
            for process in made.started:  # a failed test may leave processes
                process.kill()
                process.communicate()


def test_c_goes_on_with_the_last_conversation_of_the_folder(agent: Agent) -> None:
    agent.run("my cat is called Aster")
    out, err = agent.run("-c", "what is it called?")
    assert out == "Noted.\n"
    assert "session 1 continues (1 turn): my cat is called Aster" in err
    assert agent.said == ["my cat is called Aster", "Noted.", "what is it called?"]
    agent.run("an unrelated question")
    assert agent.said == ["an unrelated question"]
    out, _ = agent.run("--json", "/resume 1")
    assert json.loads(out)["turns"] == 2
    out, _ = agent.run("--continue", "--json", "and its colour?")
    assert len(agent.said) == 5
    assert json.loads(out)["session"] == 1
    elsewhere = agent.folder / "elsewhere"
    elsewhere.mkdir()
    _, err = agent.run("-c", "hello", code=1, cwd=elsewhere)
    assert "there is no earlier session of this folder" in err


def test_sessions_are_listed_and_searched(agent: Agent) -> None:
    agent.run("my cat is called Aster")
    agent.run("my dog is called Bodo")
    out, _ = agent.run("/sessions")
    assert out.index("Bodo") < out.index("Aster")
    out, _ = agent.run("--json", "/sessions aster noted")
    assert [found["id"] for found in json.loads(out)["sessions"]] == [1]
    agent.run("/sessions zebra", code=1)


def test_nothing_is_kept_without_sessions(agent: Agent) -> None:
    for words, given in (
        (["--no-session", "hello"], {}),
        (["hello"], {"HARNESS_NO_SESSIONS": "1"}),
    ):
        out, _ = agent.run("--json", *words, **given)
        assert json.loads(out)["session"] is None
    assert not (agent.folder / "data" / "sessions.db").exists()


def test_a_damaged_store_costs_a_notice(agent: Agent) -> None:
    path = agent.folder / "data" / "sessions.db"
    path.parent.mkdir()
    path.write_bytes(b"something else" * 1000)
    out, err = agent.run("-c", "hello")
    assert out == "Noted.\n"
    assert err.count("sessions cannot be stored or read") == 1
    assert path.read_bytes() == b"something else" * 1000


def test_a_resumed_session_asks_again(agent: Agent) -> None:
    save = calling(tool_call("notes", text="hello", save_to="out.md"))
    write_skill(agent.folder / "config" / "skills" / "notes")
    agent.server.model = FakeModel(save, "Saved.", save, "Not saved.", "Nothing to do.")
    agent.run("--yes", "save a note")
    target = agent.project / "out.md"
    target.unlink()
    _, err = agent.run("-c", "again", code=2)
    assert "nobody is here to allow that" in err
    assert not target.exists()
    _, err = agent.run("--yes", "-c", "again", code=2)
    assert "session 1 asked before changes" in err


def write_skill(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: notes\ndescription: Keeps a note\n---\n")
    (folder / "plugin.py").write_text(
        "from harness import Result, Skill, hookimpl\n"
        "class Notes(Skill):\n"
        "    name = 'notes'\n"
        "    summary = 'Keep a note'\n"
        "    saves = ('.md',)\n"
        "    def run(self, call):\n"
        "        return Result(call.text, renderers={'.md': lambda: call.text})\n"
        "@hookimpl\n"
        "def register_skills(register):\n"
        "    register(Notes())\n"
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_turn_that_is_ended_leaves_the_earlier_ones(agent: Agent, how: signal.Signals) -> None:
    agent.run("my cat is called Aster")
    agent.server.fail("slow")
    process = agent.start("-c", "tell me a long story")
    end = time.monotonic() + PATIENCE
    while len(agent.server.bodies("/api/chat")) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(1.0)  # a few pieces of the answer arrive
    os.kill(process.pid, how)
    process.communicate()
    agent.server.fail(None)
    agent.run("-c", "what is it called?")
    assert agent.said[:2] == ["my cat is called Aster", "Noted."]
    assert agent.said[-1] == "what is it called?"
    assert len(agent.said) in ([3] if how == signal.SIGKILL else [3, 5])


def test_two_processes_store_at_once(agent: Agent) -> None:
    agent.run("the first")
    processes = [agent.start("-c", f"number {number}") for number in range(4)]
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
        assert "cannot be stored" not in err
    out, _ = agent.run("--json", "/resume")
    assert json.loads(out)["turns"] == 5
    agent.run("-c", "the last")
    assert {f"number {number}" for number in range(4)} < {*agent.said}
    assert len(agent.said) == 11


def test_a_conversation_goes_on_in_a_terminal(agent: Agent) -> None:
    def answer(request: Request) -> str:
        return f"**{len(request.messages)} messages** and a list:\n\n- one\n- two"

    agent.server.model = FakeModel(answer)
    agent.run("my cat is called Aster")
    with terminal_session(agent.project, 80, agent.environment) as session:
        session.press("/resume", ENTER)
        session.wait_for("session 1 continues (1 turn): my cat is called Aster")
        session.press("what is it called?", ENTER)
        session.wait_for("4 messages and a list: • one • two")
        session.press("/clear", ENTER)
        session.wait_for("A new conversation begins.")
        session.press("a new one", ENTER)
        session.wait_for("2 messages and a list")
        session.press("/sessions", ENTER)
        session.wait_for("a new one", "my cat is called Aster")
        session.press("/exit", ENTER)
        assert session.end() == 0
    with terminal_session(agent.project, 80, agent.environment, ["-c"]) as session:
        assert "session 2 continues (1 turn): a new one" in session.text
        session.press("go on", ENTER)
        session.wait_for("4 messages and a list")


def test_a_session_of_commands_goes_on(agent: Agent) -> None:
    write_skill(agent.folder / "config" / "skills" / "notes")
    with terminal_session(agent.project, 80, agent.environment) as session:
        session.press("/notes one", ENTER, "/skills", ENTER, "/notes two | three", ENTER)
        session.wait_for("two | three")
        session.press("/exit", ENTER)
        assert session.end() == 0
    with terminal_session(agent.project, 80, agent.environment, ["-c"]) as session:
        assert "session 1 continues (2 turns): /notes one two | three" in session.text
    agent.run("-c", "what did I note?")
    assert agent.said == [
        "/notes one",
        "```\none\n```",
        "/notes two | three",
        "```\ntwo | three\n```",
        "what did I note?",
    ]


def test_a_terminal_asks_about_agents_md(agent: Agent) -> None:
    (agent.project / "AGENTS.md").write_text("Answer in one word.")
    (agent.project / "notes.md").write_text("We sort papers.")
    _, err = agent.run("hello")
    assert "nobody is here to allow instructions of the project" in " ".join(err.split())
    with terminal_session(agent.project, 80, agent.environment) as session:
        session.press("what is in @notes.md?", ENTER)
        session.wait_for("Follow them? (y/n)")
        session.press("y")
        session.wait_for("-> @notes.md (15 characters)", "Noted.")
        session.press("/exit", ENTER)
        assert session.end() == 0
    agent.run("-c", "and now?")
    body = agent.server.bodies("/api/chat")[-1]
    assert "Answer in one word." in body["messages"][0]["content"]
    assert "We sort papers." in agent.said[0]


def test_a_prompt_skill_goes_on(agent: Agent) -> None:
    folder = agent.folder / "config" / "skills" / "review"
    folder.mkdir(parents=True)
    head = "---\nname: review\ndescription: Reviews a text\n---\n"
    (folder / "SKILL.md").write_text(f"{head}Name two faults of the text.")
    out, _ = agent.run("--json", "/review We sort papers.")
    assert json.loads(out)["session"] == 1
    agent.run("-c", "and shorter, please")
    system = agent.server.bodies("/api/chat")[-1]["messages"][0]["content"]
    assert "Name two faults of the text." in system
    assert agent.said == ["/review We sort papers.", "Noted.", "and shorter, please"]
    (folder / "SKILL.md").unlink()
    _, err = agent.run("-c", "once more")
    system = agent.server.bodies("/api/chat")[-1]["messages"][0]["content"]
    assert "Name two faults" not in system
    assert "/review is no longer used" in err
