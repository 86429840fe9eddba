"""`agent.py acp`, driven by the client of the package `agent-client-protocol`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("acp", reason="needs the extra acp")

import acp
from acp import schema
from acp_session import Thread, User, command, connected, make_project
from agent_process import environment_of

from harness.errors import UsageError
from harness.settings import CODE_ROOT

Scenario = Callable[[], Awaitable[None]]
COMMANDS = "available_commands_update"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def run(scenario: Scenario) -> None:
    asyncio.run(scenario())


async def opened(agent: Any, project: Path, user: User) -> Thread:
    session = await agent.new_session(cwd=str(project), mcp_servers=[])
    return Thread(agent, session.session_id, user)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_an_editor_runs_commands_chats_and_comes_back(project: Path) -> None:
    user = User()
    (project / "notes.md").write_text("A note.\n")

    async def scenario() -> None:
        async with connected(project.parent, user) as (agent, about):
            assert about.protocol_version == 1
            assert about.agent_capabilities.load_session
            session = await agent.new_session(cwd=str(project), mcp_servers=[])
            assert not user.updates  # the commands are sent after the answer
            await until(lambda: user.updates)
            [update] = user.updates
            commands = update.available_commands
            hints = {one.name: one.input and one.input.root.hint for one in commands}
            assert hints["rows"] == "TABLE save to FILE"
            assert hints["corpus"].startswith("SUBCOMMAND TEXT")
            assert hints["reload"] is None
            assert not {"exit", "quit", "clear", "resume"} & hints.keys()

            thread = Thread(agent, session.session_id, user)
            assert await thread.say("/rows papers.csv save to out.txt") == "end_turn"
            assert (project / "out.txt").read_text() == "the result"
            calls = user.calls()
            assert calls[0] == ("in_progress", "")
            assert ("in_progress", "```\nthe rows begin\nrow 3\n```") in calls
            assert calls[-1] == ("completed", "```\nthe rows begin\nSaved to out.txt\n```")
            titles = [one.title for one in user.updates if one.session_update == "tool_call_update"]
            assert "/rows papers.csv save to out.txt · row 3" in titles
            assert titles[-1] == "/rows papers.csv save to out.txt"
            starts = [one for one in user.updates if isinstance(one, schema.ToolCallStart)]
            assert [one.title for one in starts] == ["/rows papers.csv save to out.txt"]
            assert user.updates[-2].content.text == "Saved to out.txt"
            assert user.updates[-1].title == "/rows papers.csv save to out.txt"

            assert await thread.say("do it please") == "end_turn"  # a trigger of /rows
            assert user.calls()[-1][0] == "completed"
            assert await thread.say("/rows --rows many") == "end_turn"
            assert "--rows" in user.texts()
            assert user.calls()[-1][0] == "failed"
            assert await thread.say("/help rows") == "end_turn"
            assert (user.calls(), user.texts()[:4]) == ([], "```\n")
            link = acp.resource_link_block("notes.md", (project / "notes.md").as_uri())
            await thread.say("what is in", link)
            assert user.texts() == "You said: what is in @notes.md\n\n" + (
                '<file path="notes.md">\nA note.\n</file>'
            )
            await thread.say("/rows ", link, " save to ", "two.txt")
            assert user.calls()[-1][1].endswith("Saved to two.txt\n```")

            other = await opened(agent, project.parent, user)
            await until(lambda: user.updates[-1].session_update == COMMANDS)
            sessions = (await agent.list_sessions(cwd=str(project))).sessions
            assert [(one.session_id, one.cwd) for one in sessions] == [(thread.id, str(project))]
            assert sessions[0].title == "/rows papers.csv save to out.txt"
            user.updates.clear()
            await agent.load_session(cwd=str(project), session_id=thread.id, mcp_servers=[])
            assert user.updates[0].content.text == "/rows papers.csv save to out.txt"
            assert "Saved to out.txt" in user.updates[1].content.text
            assert {one.session_update for one in user.updates} - {COMMANDS} <= {
                "user_message_chunk",
                "agent_message_chunk",
            }
            for cwd, number in ((project.parent, thread.id), (project, "99"), (project, other.id)):
                with pytest.raises(acp.RequestError, match="session"):
                    await agent.load_session(cwd=str(cwd), session_id=number, mcp_servers=[])
            with pytest.raises(acp.RequestError, match="there is no folder"):
                await agent.new_session(cwd="nowhere", mcp_servers=[])
            with pytest.raises(acp.RequestError, match="there is no open session"):
                await Thread(agent, "none", user).say("hello")
            with pytest.raises(acp.RequestError, match="the prompt is empty"):
                await thread.say(" ")
            image = acp.image_block("", "image/png")
            with pytest.raises(acp.RequestError, match="text and links, not image"):
                await thread.say(image)

        async with connected(project.parent, user) as (agent, _):  # another process
            user.updates.clear()
            await agent.load_session(cwd=str(project), session_id=thread.id, mcp_servers=[])
            assert user.texts("user_message_chunk").startswith("/rows papers.csv save to out.txt")
            thread = Thread(agent, thread.id, user)
            await thread.say("and now?")
            assert user.texts() == "You said: and now?"

    run(scenario)


def test_a_prompt_is_answered_if_its_stored_session_is_lost(project: Path) -> None:
    user = User()

    async def scenario() -> None:
        async with connected(project.parent, user) as (agent, _):
            thread = await opened(agent, project, user)
            stored = [*project.parent.rglob("sessions.db*")]
            assert stored
            for file in stored:
                file.unlink()
            assert await thread.say("/help") == "end_turn"
            assert "/rows" in user.texts()

    run(scenario)


def test_the_model_is_a_config_option(project: Path) -> None:
    user = User()
    registry = project.parent / "registry.yaml"
    registry.write_text(
        registry.read_text()
        + "  other:\n    tasks: [chat]\n    serve: [{backend: fake, model: other}]\n"
    )

    async def scenario() -> None:
        async with connected(project.parent, user) as (agent, _):
            session = await agent.new_session(cwd=str(project), mcp_servers=[])
            thread = Thread(agent, session.session_id, user)
            [option] = session.config_options
            assert (option.id, option.category, option.current_value) == (
                "model",
                "model",
                "default",
            )
            assert [one.value for one in option.options] == ["default", "producer", "other"]
            choose = agent.set_config_option
            given = await choose(config_id="model", session_id=thread.id, value="other")
            assert given.config_options[0].current_value == "other"
            await thread.say("/model")
            assert "chat: other" in user.texts()
            await thread.say("/model producer")
            [update] = [one for one in user.updates if one.session_update == "config_option_update"]
            assert update.config_options[0].current_value == "producer"
            await choose(config_id="model", session_id=thread.id, value="default")
            for wrong in (
                {"config_id": "model", "value": "none"},
                {"config_id": "x", "value": "y"},
            ):
                with pytest.raises(acp.RequestError, match="there is no"):
                    await choose(session_id=thread.id, **wrong)
            neighbour = await opened(agent, project, user)
            await thread.say("/model other")
            await neighbour.say("/model")
            assert "chat: producer" in user.texts()

    run(scenario)


def call(name: str, **arguments: Any) -> str:
    return f"{name} {json.dumps(arguments)}"


def test_the_model_asks_for_permission_and_uses_the_files_of_the_editor(project: Path) -> None:
    user = User(answer="allow_once")
    note = project / "note.md"
    note.write_text("on the disk\n")
    user.open[str(note)] = "in the editor\n"

    async def scenario() -> None:
        async with connected(project.parent, user) as (agent, _):
            thread = await opened(agent, project, user)
            await thread.say(call("read_file", path="note.md"))
            assert "in the editor" in user.texts()
            assert user.texts().startswith("I call it.")
            assert [status for status, _ in user.calls()] == ["in_progress", "completed"]
            assert not user.asked

            write = call("write_file", path="note.md", content="new\n", replaces="in the editor\n")
            for answer in ("reject_once", ""):
                user.answer = answer
                await thread.say(write)
                assert user.calls()[-1][0] == "failed"
                assert "did not allow that" in user.texts()
                assert not user.written
            user.answer = "never"
            user.asked.clear()
            waiting = asyncio.ensure_future(thread.say(write))
            await until(lambda: user.asked)
            await agent.cancel(session_id=thread.id)
            assert await waiting == "cancelled"
            user.answer = "allow_once"
            await thread.say(write)
            [(question, kinds)] = user.asked
            assert "-in the editor\n+new" in question
            assert question.endswith(f"The model wants to write {note}. Allow it?")
            assert kinds == ["allow_once", "reject_once", "allow_always"]
            assert user.written == {str(note): "new\n"}
            assert user.calls()[-1] == ("completed", "diff new\n")
            del user.open[str(note)]

            user.answer = "allow_always"
            for content in ("once\n", "twice\n"):
                await thread.say(call("write_file", path="note.md", content=content))
            assert (user.asked, user.written[str(note)]) == ([], "twice\n")
            await thread.say("/permissions")
            assert f"write {note}" in user.texts()

            user.answer = "allow_once"
            await thread.say(call("rows", text="x", save_to="by_model.txt"))
            assert [kinds for _, kinds in user.asked] == [["allow_once", "reject_once"]]
            assert (project / "by_model.txt").read_text() == "the result"
            (project / "mine.txt").write_text("mine")
            user.answer = "reject_once"
            await thread.say("/rows x save to mine.txt")
            line = "/rows x save to mine.txt"
            assert user.asked[0][0] == f"{line}\nmine.txt exists. Overwrite it?"
            assert (project / "mine.txt").read_text() == "mine"

            user.said = "blue"
            await thread.say(call("ask_user", question="Which colour?", choices=["red", "blue"]))
            [(question, form)] = user.forms
            assert question == "The model asks: Which colour?"
            assert form.properties["answer"].enum == ["red", "blue"]
            assert '"answer":"blue"' in user.texts()
            user.said = None
            await thread.say(call("ask_user", question="Which colour?"))
            assert '"answer":""' in user.texts()

            user.refuses = True
            await thread.say(call("read_file", path="note.md"))
            assert "the editor did not read it: it is private" in user.texts()
            (project / "note.md").unlink()
            await thread.say(call("write_file", path="note.md", content="x"))
            assert "the editor did not write it: it is private" in user.texts()
            assert not note.exists()

            await agent.initialize(protocol_version=1)  # without capabilities
            await thread.say(call("write_file", path="note.md", content="plain"))
            assert note.read_text() == "plain"
            await thread.say(call("ask_user", question="Which colour?"))
            assert "does not support elicitation" in user.texts()

            (project / "AGENTS.md").write_text("Answer in verse.")
            user.answer = "allow_once"
            await thread.say("hello")
            [(question, kinds)] = user.asked
            assert "this project's instructions" in question
            await thread.say("hello")
            assert not user.asked

    run(scenario)


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
def test_a_cancelled_table_keeps_its_rows_and_the_same_line_continues(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text("version: 1\n")
    project = tmp_path / "project"
    project.mkdir()
    abstract = (
        "We study why bridges hum in the wind, since towns complain. A model of {} cables shows "
        "that the pitch depends on tension alone. Only steel was tested."
    )
    rows = [f'2401.{n:05},Paper {n},"{abstract.format(n)}"' for n in range(1, 151)]
    (project / "papers.csv").write_text("\n".join(["arxiv_id,title,abstract", *rows]))
    user, line = User(), "/annotate papers.csv save to out.jsonl"

    async def scenario() -> None:
        async with connected(tmp_path, user) as (agent, _):
            thread = await opened(agent, project, user)
            cancelled: list[Any] = []

            def cancel(update: Any) -> None:
                shown = user.calls()[-1:] if update.session_update == "tool_call_update" else []
                if shown and " 0 of " not in shown[0][1] and "of 150 papers" in shown[0][1]:
                    cancelled.append(asyncio.ensure_future(agent.cancel(session_id=thread.id)))

            user.on_update = cancel
            assert await thread.say(line) == "cancelled"
            assert cancelled
            assert user.calls()[-1][0] == "failed"
            user.on_update = lambda update: None
            assert await thread.say(line) == "end_turn"
            status, text = user.calls()[-1]
            assert status == "completed"
            assert " done before" in text
            assert "; 0 done before" not in text
            assert len((project / "out.jsonl").read_text().splitlines()) == 150

    run(scenario)


class Raw:
    """An agent as a process, without a client of the protocol."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            command(),
            cwd=folder,
            env=environment_of(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, line: bytes | dict[str, Any]) -> None:
        text = line if isinstance(line, bytes) else json.dumps({"jsonrpc": "2.0", **line}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(text + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def answer(self, number: int | None) -> dict[str, Any]:
        """Return the answer to a request; updates before it are skipped."""
        while True:
            message = self.receive()
            if "method" not in message and message["id"] == number:
                return message


def test_broken_frames_are_answered_and_a_lost_editor_ends_the_process(project: Path) -> None:
    agent = Raw(project.parent)
    initialize = {"method": "initialize", "params": {"protocolVersion": 1}}
    agent.send({"id": 1, **initialize})
    assert agent.answer(1)["result"]["protocolVersion"] == 1
    for broken, code in (
        (b"no JSON", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 50_000, -32700),
        (b"[1, 2]", -32600),
        (b"{}", -32600),
        (b'{"id": [1], "method": "initialize"}', -32600),
        (b'{"id": 1, "method": 7}', -32600),
        (b'{"id": 1, "error": "no object"}', -32600),
    ):
        agent.send(broken)
        assert agent.answer(None)["error"]["code"] == code, broken[:40]
    agent.send(b"")
    agent.send({"id": 2, "method": "session/dance"})
    assert agent.answer(2)["error"]["code"] == -32601
    agent.send({"method": "session/dance"})
    agent.send({"id": 99, "result": {}})  # a result without a request
    for number, params in enumerate(({}, {"cwd": 7, "mcpServers": []}, [], {"cwd": "x"}), start=3):
        agent.send({"id": number, "method": "session/new", "params": params})
        assert agent.answer(number)["error"]["code"] == -32602
    agent.send(b'{"id": 8, "method": "session/prompt", "params": "%s"}' % (b"x" * 4_000_000))
    assert "more than 3,000,000 bytes" in json.dumps(agent.answer(8))
    agent.send(
        {"id": 9, "method": "session/new", "params": {"cwd": str(project), "mcpServers": []}}
    )
    session = agent.answer(9)["result"]["sessionId"]
    (project / "mine.txt").write_text("mine")
    text = {"type": "text", "text": "/rows x save to mine.txt"}
    agent.send(
        {"id": 12, "method": "session/prompt", "params": {"sessionId": session, "prompt": [text]}}
    )
    while (asked := agent.receive()).get("method") != "session/request_permission":
        pass
    agent.send(b'{"id": %d, "result": "%s"}' % (asked["id"], b"x" * 4_000_000))
    while "could not ask the user" not in json.dumps(shown := agent.receive()):
        pass
    assert "more than 3,000,000 bytes" in json.dumps(shown)
    assert agent.answer(12)["result"] == {"stopReason": "end_turn"}
    prompt = [{"type": "text", "text": "/rows --rows 1000000"}]
    asked = {"sessionId": session, "prompt": prompt}
    (project / "done").unlink(missing_ok=True)
    agent.send({"id": 10, "method": "session/prompt", "params": asked})
    agent.send({"id": 11, "method": "session/prompt", "params": asked})
    assert "is running a prompt" in agent.answer(11)["error"]["message"]
    while not (project / "done").exists():
        agent.receive()
    out, err = agent.process.communicate()
    for line in out.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"
    assert agent.process.returncode == 0
    assert (project / "stopped").exists()
    assert b"a print of a skill" in err
    assert b"an output of a child" in err
    assert b"Traceback" not in err, err.decode()


@pytest.mark.skipif(os.name == "nt", reason="a POSIX pipe")
def test_an_editor_that_reads_no_more_ends_the_process(project: Path) -> None:
    agent = Raw(project.parent)
    params = {"cwd": str(project), "mcpServers": []}
    agent.send({"id": 1, "method": "session/new", "params": params})
    session = agent.answer(1)["result"]["sessionId"]
    prompt = [{"type": "text", "text": "/rows --rows 1000000"}]
    asked = {"sessionId": session, "prompt": prompt}
    agent.send({"id": 2, "method": "session/prompt", "params": asked})
    while not (project / "done").exists():
        agent.receive()
    assert agent.process.stdout is not None
    agent.process.stdout.close()
    assert agent.process.wait(60) == 0
    assert (project / "stopped").exists()
    assert agent.process.stdin is not None
    assert agent.process.stderr is not None
    assert b"Traceback" not in (err := agent.process.stderr.read()), err.decode()
    agent.process.stdin.close()
    agent.process.stderr.close()


def test_options_and_a_missing_extra_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cli.main import _run

    with pytest.raises(UsageError, match="`acp` cannot be started with --yes"):
        _run(["acp", "--yes"])
    monkeypatch.setitem(sys.modules, "acp", None)
    with pytest.raises(UsageError, match=r"needs acp, which is not installed.*harness\[acp\]"):
        _run(["acp"])


def test_the_example_prints_the_updates(project: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(CODE_ROOT / "examples" / "acp_client.py"), "/rows x", "hello"],
        cwd=project,
        env=environment_of(project.parent),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "commands: /annotate, " in ran.stdout
    assert "in_progress /rows x" in ran.stdout
    assert "You said: hello\nend_turn" in ran.stdout
