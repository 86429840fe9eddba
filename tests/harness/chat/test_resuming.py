"""A session with tool calls goes on in another process, over a socket and in both protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_workspace import AgentWorkspace, Producer, consistent
from protocol_server import ProtocolServer

from harness.errors import NotAllowed
from harness.testing import calling, tool_call

STATS = calling(tool_call("corpus", subcommand="stats"), tool_call("nothing"))


@pytest.fixture(params=["ollama", "openai"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(names=("smollm2",)) as started:
        yield started


def process(folder: Path, server: ProtocolServer, protocol: str, *script: object) -> AgentWorkspace:
    """Return a new application in the folder, as another process would have."""
    server.model = Producer(*script)
    agent = AgentWorkspace(folder, server, protocol, 16384)
    agent.use_frontend(json=True)
    return agent


def test_calls_and_results_go_on(tmp_path: Path, server: ProtocolServer, protocol: str) -> None:
    first = process(tmp_path, server, protocol, STATS, "Four papers.")
    first.run("how many papers are there?")
    before = list(first.conversation)
    later = process(tmp_path, server, protocol, STATS, "Still four.")
    later.app.conversation.resume()
    assert later.conversation == before
    later.run("and now?")
    assert json.loads(later.out)["text"] == "Still four."
    assert consistent(later.conversation)
    ids = [call.id for message in later.conversation for call in message.tool_calls]
    assert len(ids) == 4
    assert protocol == "openai" or len({*ids}) == 4, "Ollama gives none, so they are ours"
    assert len(later.chats[-1]["messages"]) == 1 + len(later.conversation) - 1


def test_a_model_without_tools_reads_what_was_said(tmp_path: Path, server: ProtocolServer) -> None:
    process(tmp_path, server, "ollama", STATS, "Four papers.").run("how many papers are there?")
    server.tools = "refused"
    later = process(tmp_path, server, "ollama", "Still four.")
    later.app.conversation.resume()
    later.run("and now?")
    assert [m["content"] for m in later.chats[-1]["messages"]][1:] == [
        "how many papers are there?",
        "Four papers.",
        "and now?",
    ]


def test_another_model_is_reported(tmp_path: Path, server: ProtocolServer, protocol: str) -> None:
    process(tmp_path, server, protocol, "Noted.").run("my cat is called Aster")
    with ProtocolServer(names=("smollm2",)) as other:
        later = process(tmp_path, other, protocol, "Aster.")
        later.app.conversation.resume()
        later.run("what is it called?")
        later.run("are you sure?")
    notice = f"session 1 was last answered by producer · {protocol} · smollm2 at {server.url}"
    assert " ".join(later.stderr.split()).count(notice) == 1


def test_a_line_with_yes_is_refused_where_the_session_asked(
    tmp_path: Path, server: ProtocolServer, protocol: str
) -> None:
    first = process(tmp_path, server, protocol, "Noted.")
    first.run("/chat --yes my cat is called Aster")
    first.run("and my dog Bodo")
    first.run("/chat --yes the session has not been resumed")
    later = process(tmp_path, server, protocol, "Aster.")
    later.app.conversation.resume()
    with pytest.raises(NotAllowed, match="session 1 asked before changes"):
        later.app.dispatch("/chat --yes go on")
    assert later.app.dispatch("/chat --yes --new something else").result.code == 0
