"""The conversation that chat and prompt skills share, and its stored session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_workspace import AgentWorkspace, Producer, consistent
from protocol_server import ProtocolServer

from harness import App
from harness.chat.conversation import (
    SHOWN_CALL,
    SUMMARIZE,
    SUMMARY_REQUEST,
    Conversation,
    as_text,
    fit,
)
from harness.errors import (
    HarnessError,
    LoopingReply,
    ModelUnavailable,
    NotAllowed,
    NothingFound,
)
from harness.models.backend import Message, Reply, Request, ToolCall
from harness.sessions import SessionStore
from harness.testing import (
    FAKE_REGISTRY,
    FakeModel,
    calling,
    fake_app,
    fake_settings,
    tool_call,
)

TURN = [Message("user", "before"), Message("assistant", "so far")]


def new(folder: Path, project: str = "project") -> Conversation:
    """Return the conversation of a new process."""
    settings = replace(fake_settings(folder), project_dir=folder / project)
    return Conversation.of(settings, pytest.fail)


def test_a_forgotten_conversation_is_a_new_one(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "sessions.db", pytest.fail)
    conversation = Conversation(store, [TURN[0]], {"review": ""}, 7, keeps=False)
    conversation.add(TURN[1:])
    assert conversation.messages == TURN
    conversation.forget()
    assert conversation == Conversation(store, keeps=False)


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
    unlimited.check_rights(yes=True)  # the session has not asked before
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


ANSWER = "It rained in May, says notes.txt."
SUMMARY = "The user asks about the weather; notes.txt says that it rained in May."


class Writer(FakeModel):
    """A model that answers, and summarizes if it is asked to."""

    def __init__(self, *summaries: str | Exception) -> None:
        super().__init__(context=4096)
        self.summaries = [*summaries]
        self.asked: list[str] = []

    def generate(self, request: Request, *rest: Any) -> Reply:
        if request.messages[0].content != SUMMARIZE:
            self.replies = (ANSWER,)
            return super().generate(request, *rest)
        self.asked.append(request.messages[-1].content)
        summary = self.summaries.pop(0)
        if isinstance(summary, Exception):
            raise summary
        return Reply(summary, "stop", 1, 1, 0.0)


def long_app(folder: Path, model: FakeModel) -> App:
    """Return the application of a new process whose model has a context of 4,096 tokens."""
    app = fake_app(folder, model)
    text = FAKE_REGISTRY.replace("model: producer", "model: producer, context: 4096")
    app.settings.user_registry.write_text(text)
    app.reload()
    return app


def ask(app: App, *letters: str) -> list[str]:
    """Ask a long question for each letter, and return the messages of the last request."""
    for letter in letters:
        app.dispatch(f"{letter * 3000}?")
    model = app.pool.backends["fake"].model  # type: ignore[attr-defined]
    return [message.content for message in model.requests[-1].messages[1:]]


def test_a_long_conversation_is_summarized_and_goes_on(tmp_path: Path) -> None:
    model = Writer(SUMMARY, "Second summary.")
    app = long_app(tmp_path, model)
    assert ask(app, "a", "b") == ["a" * 3000 + "?", ANSWER, "b" * 3000 + "?"]
    assert ask(app, "c", "d")[-1] == "d" * 3000 + "?"
    [asked] = model.asked
    assert asked.startswith(f"The conversation:\nuser: {'a' * 3000}?\n\nassistant: {ANSWER}\n\n")
    sent = [message.content for message in model.requests[-1].messages]
    assert sent[1:3] == [SUMMARY_REQUEST, SUMMARY]
    assert "a" * 3000 + "?" not in sent
    notices = app.screen.err.getvalue()  # type: ignore[union-attr]
    assert "which now summarizes 2 earlier turns; `/compact` shows the summary" in notices
    later = long_app(tmp_path, Writer("Second summary."))
    session = later.conversation.resume()
    assert session.turns == 4
    assert later.conversation.messages == app.conversation.messages
    ask(later, "e", "f")
    shown = later.dispatch(f"/sessions --show {session.id}").result
    assert [turn["is_summary"] for turn in shown.data["turns"]].count(True) == 2
    assert f"--- Summary of the earlier turns, made by the model:\n\n{SUMMARY}" in shown.text
    assert f"user: {'a' * 3000}?" in shown.text
    again = long_app(tmp_path, Writer())
    assert "Second summary." in again.dispatch("/resume").result.text
    assert again.conversation.messages == later.conversation.messages
    assert again.dispatch("/sessions aaa").result.data["sessions"][0]["id"] == session.id


def test_the_earlier_summary_is_part_of_the_next(tmp_path: Path) -> None:
    model = Writer(SUMMARY, "Both.")
    app = long_app(tmp_path, model)
    ask(app, "a")
    assert app.dispatch("/compact").result.data == {"turns": 1, "summary": SUMMARY}
    assert app.dispatch("/compact").result.data == {"turns": 0, "summary": SUMMARY}
    app.dispatch("and then?")
    shown = app.dispatch("/compact keep the names of files").result
    assert shown.data == {"turns": 1, "summary": "Both."}
    assert model.asked[1] == (
        f"The summary of the part before:\n{SUMMARY}\n\nThe conversation:\nuser: and then?\n\n"
        f"assistant: {ANSWER}\n\nWrite the summary. The user asks for this: keep the names of files"
    )
    assert app.conversation.messages[1:] == [Message("assistant", "Both.")]
    later = long_app(tmp_path, Writer())
    assert later.conversation.resume().turns == 2
    assert later.conversation.summary == "Both."


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (" ", "the model gave no summary"),
        (ModelUnavailable("the server is gone"), "the server is gone"),
        (LoopingReply("the model repeats itself"), "the model repeats itself"),
    ],
)
def test_without_a_summary_the_oldest_turns_are_left_out(
    tmp_path: Path, summary: str | Exception, reason: str
) -> None:
    app = long_app(tmp_path, Writer(summary, summary))
    sent = ask(app, "a", "b", "c", "d")
    assert [text[0] for text in sent] == ["b", ANSWER[0], "c", ANSWER[0], "d"]
    assert app.conversation.summary == ""
    notices = app.screen.err.getvalue()  # type: ignore[union-attr]
    assert f"no summary was made, so the oldest turns are left out: {reason}" in notices
    later = long_app(tmp_path, Writer())
    later.conversation.resume()
    assert len(later.conversation.messages) == 8
    by_hand = long_app(tmp_path, Writer(summary))
    by_hand.conversation.resume()
    with pytest.raises(HarnessError, match=reason):
        by_hand.dispatch("/compact")
    assert len(by_hand.conversation.messages) == 8


def test_nothing_to_summarize(tmp_path: Path) -> None:
    with pytest.raises(NothingFound, match="there is no conversation to summarize"):
        long_app(tmp_path, Writer()).dispatch("/compact")


def test_results_of_tools_are_left_out_before_turns_and_of_summaries() -> None:
    call = ToolCall("read_file", '{"path": "notes.txt"}', "1")
    turn = [
        Message("user", "read it"),
        Message("assistant", "", (call,)),
        Message("tool", "r" * 3000, answers=call),
        Message("assistant", "Done."),
    ]
    kept = fit([*turn, *turn, Message("user", "and now?")], 1200)
    assert [len(message.content) for message in kept] == [7, 0, 40, 5, 7, 0, 3000, 5, 8]
    assert kept[2].content == "(left out: the conversation is too long)"
    kept = fit([*turn, *turn, Message("user", "and now?")], 100)
    assert [message.content[:10] for message in kept if message.role == "tool"] == [
        "(left out:"
    ] * 2
    text = "\n".join(map(as_text, turn))
    assert text == (
        'user: read it\nassistant: (read_file {"path": "notes.txt"})\ntool: \nassistant: Done.'
    )
    head = [Message("user", SUMMARY_REQUEST), Message("assistant", SUMMARY)]
    kept = fit([*head, *turn, Message("user", "and now?")], 50)
    assert [message.content for message in kept] == [SUMMARY_REQUEST, SUMMARY, "and now?"]


def test_a_long_tool_call_is_cut_inside_its_brackets() -> None:
    call = ToolCall("write_file", '{"content": "' + "x" * 500 + '"}')
    text = as_text(Message("assistant", "", tool_calls=(call,)))
    assert text.endswith("xxx)")
    assert len(text) == len("assistant: ") + SHOWN_CALL + 1


def test_a_very_long_conversation_is_summarized_in_pieces(tmp_path: Path) -> None:
    model = Writer(*[f"Summary {number}." for number in range(10)])
    app = long_app(tmp_path, model)
    app.conversation.add([Message("user", "x" * 100_000), Message("assistant", "Long.")])
    app.dispatch("/compact")
    assert len(model.asked) == 8
    assert model.asked[1].startswith("The summary of the part before:\nSummary 0.\n\n")
    assert app.conversation.summary == "Summary 7."
