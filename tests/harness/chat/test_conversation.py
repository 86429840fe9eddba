"""The conversation that chat and prompt skills share, and its stored session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_workspace import AgentWorkspace, Producer, consistent
from protocol_server import ProtocolServer

from harness.chat.conversation import Conversation
from harness.errors import NotAllowed, NothingFound
from harness.models.backend import Message
from harness.testing import calling, fake_settings, tool_call

TURN = [Message("user", "before"), Message("assistant", "so far")]


def new(folder: Path, project: str = "project") -> Conversation:
    """Return the conversation of a new process."""
    settings = replace(fake_settings(folder), project_dir=folder / project)
    return Conversation.of(settings, pytest.fail)


def test_a_forgotten_conversation_is_a_new_one() -> None:
    conversation = Conversation([TURN[0]], {"review": ""}, 7)
    conversation.add(TURN[1:])
    assert conversation.messages == TURN
    conversation.forget()
    assert conversation == Conversation()


def test_a_resumed_conversation_is_the_same_one(tmp_path: Path) -> None:
    first = new(tmp_path)
    first.activate("review", "the text")
    first.add(TURN)
    again = new(tmp_path)
    session = again.resume()
    assert (session.id, session.turns) == (first.session, 1)
    assert (again.messages, again.skills) == (TURN, {"review": "the text"})
    again.add(TURN)
    assert again.session == first.session
    assert new(tmp_path).resume(first.session).turns == 2


def test_a_new_conversation_begins_a_new_session(tmp_path: Path) -> None:
    conversation = new(tmp_path)
    conversation.add(TURN)
    first = conversation.session
    conversation.forget()
    assert conversation.session is None
    conversation.add(TURN)
    assert conversation.session not in (None, first)
    assert conversation.resume().id == first, "not the one that goes on already"


def test_only_sessions_of_the_folder_go_on(tmp_path: Path) -> None:
    there = new(tmp_path, "there")
    there.add(TURN)
    here = new(tmp_path, "here")
    with pytest.raises(NothingFound, match="no earlier session of this folder"):
        here.resume()
    with pytest.raises(NothingFound, match="there is no session 99"):
        here.resume(99)
    with pytest.raises(NotAllowed) as caught:
        here.resume(there.session)
    assert caught.value.where == str((tmp_path / "there").resolve())
    assert here.messages == []


def test_yes_is_refused_in_a_resumed_session_that_asked(tmp_path: Path) -> None:
    first = new(tmp_path)
    first.check_rights(yes=True)
    first.add(TURN, asked=False)
    new(tmp_path).resume(first.session)
    unlimited = new(tmp_path)
    unlimited.resume(first.session)
    unlimited.check_rights(yes=True)  # as before
    first.add(TURN, asked=True)
    limited = new(tmp_path)
    limited.resume(first.session)
    limited.check_rights(yes=False)
    with pytest.raises(NotAllowed, match="session 1 asked before changes"):
        limited.check_rights(yes=True)
    limited.forget()
    limited.check_rights(yes=True)


def test_nothing_is_stored_without_sessions(tmp_path: Path) -> None:
    settings = replace(fake_settings(tmp_path), no_sessions=True)
    conversation = Conversation.of(settings, pytest.fail)
    conversation.add(TURN)
    assert conversation.session is None
    assert not settings.sessions.exists()


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
