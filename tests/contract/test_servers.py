"""The contract of the backends for servers: probing, what is sent, errors and interruption."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from backend_requests import STREAMED, Remote, ask, judge, remote_of
from protocol_server import Meeting, ProtocolServer

from harness.errors import (
    DeadlineExceeded,
    GenerationFailed,
    Interrupted,
    ModelBusy,
    ModelUnavailable,
    SkillFailed,
)
from harness.models.backend import Availability, Reply, Token
from harness.models.backends import ollama_server
from harness.models.backends.openai import OpenAIServer
from harness.testing import FakeModel

TOLD = Reply("4 5", "length", 9, 2, 0.1, 0, ({"4 ": -0.25, " \ufffd": -1.5}, {"5": -0.5, "": -2.0}))


@pytest.fixture
def telling(remote: Remote) -> Remote:
    """A server that answers with `TOLD`."""
    remote.server.model = FakeModel(TOLD)
    return remote


def test_half_a_surrogate_pair_is_replaced(remote: Remote) -> None:
    remote.server.model = FakeModel("A \ud83d and \N{GRINNING FACE}")
    reply = remote.load().generate(ask("Say something."))
    assert reply.text == "A \ufffd and \N{GRINNING FACE}"


# Probing and loading


def test_probes_share_one_request(remote: Remote) -> None:
    assert remote.backend.probe(remote.entry()) == Availability(True)
    absent = remote.backend.probe(remote.entry("none:1b"))
    assert not absent.available
    assert "none:1b" in absent.reason
    with pytest.raises(ModelUnavailable, match="none:1b"):
        remote.backend.load(remote.entry("none:1b"))
    assert len(remote.server.requests) == 1


def test_probe_is_repeated_after_two_seconds(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not remote.backend.probe(remote.entry("new:latest")).available
    remote.server.names = ("new:latest",)
    now = time.monotonic()
    monkeypatch.setattr("harness.support.calls.time.monotonic", lambda: now + 3)
    assert remote.backend.probe(remote.entry("new:latest")).available


def test_local_server_is_reached_without_proxy(remote: Remote, dead_proxy: None) -> None:
    assert remote.backend.probe(remote.entry()) == Availability(True)


def test_missing_server_is_unavailable(remote: Remote, closed_port: int) -> None:
    entry = remote.entry(url=f"http://127.0.0.1:{closed_port}/v1")
    assert f"127.0.0.1:{closed_port}" in remote.backend.probe(entry).reason
    with pytest.raises(ModelUnavailable, match=f"127.0.0.1:{closed_port}"):
        remote.backend.load(entry)


def test_probe_of_a_silent_server_ends_soon(remote: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        remote.backend.probe(remote.entry(url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert time.monotonic() - started < 3


def test_slots_are_those_requested_or_configured(remote: Remote) -> None:
    assert remote.backend.load(remote.entry()).slots == 1
    assert remote.backend.load(remote.entry(), slots=None).slots == 1
    assert remote.backend.load(remote.entry(slots=6), slots=None).slots == 6
    assert remote.backend.load(remote.entry(slots=6), slots=2).slots == 2


@pytest.mark.parametrize("name", ["ollama", "openai"])
def test_generations_reach_the_server_concurrently(name: str) -> None:
    with ProtocolServer(Meeting(3)) as server:
        remote = remote_of(name, server)
        model = remote.backend.load(remote.entry(), slots=3)
        with ThreadPoolExecutor(3) as pool:
            replies = [pool.submit(model.generate, ask(f"Say {n}.")) for n in range(3)]
        assert [reply.result().text for reply in replies] == ["Say 0.", "Say 1.", "Say 2."]


# Log probabilities


def test_alternatives_are_limited_and_the_slot_is_not_sent(telling: Remote) -> None:
    assert telling.load().generate(judge()).logprobs == TOLD.logprobs
    sent = telling.sent()[-1]
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 20)
    assert sent["messages"][-1] == {"role": "assistant", "content": "Rating: "}
    assert not {"slot", "id_slot", "prefill"} & sent.keys()


def test_logprobs_are_not_requested_by_default(telling: Remote) -> None:
    telling.load().generate(judge(top_logprobs=0, prefill=""))
    (sent,) = telling.sent()
    assert not {"logprobs", "top_logprobs", "extra_body"} & sent.keys()
    assert sent["messages"][-1]["role"] == "user"
    assert "top_k" not in sent.get("options", {})


@pytest.mark.parametrize("how", ["ignored", "alone"])
def test_server_without_alternatives(telling: Remote, how: str) -> None:
    telling.server.logprobs = how
    reply = telling.load().generate(judge())
    assert (reply.text, reply.logprobs) == ("4 5", ())
    assert reply.tokens == ((Token("4 ", -0.25), Token("5", -0.5)) if how == "alone" else ())


# Errors


@pytest.mark.parametrize(
    ("how", "kind", "message", "hints"),
    [
        ("missing", ModelUnavailable, "no model 'smollm2", ("ollama pull", "Correct the model's")),
        ("busy", ModelBusy, "maximum pending requests", ("try again", "try again")),
        ("gateway", ModelBusy, "bad gateway", ("Try again", "Try again")),
        ("load_error", ModelUnavailable, "error loading model", ("server's log", "server's log")),
        ("refuse", SkillFailed, "this request is not taken", ("not help", "not help")),
        ("drop", ModelUnavailable, "cannot be reached", ("ollama serve", "Start the server")),
    ],
)
def test_error_before_the_answer(
    remote: Remote, how: str, kind: type, message: str, hints: tuple[str, str]
) -> None:
    exc = remote.failure(how, ask())
    assert type(exc) is kind
    assert message in exc.message
    assert remote.server.url in exc.message
    assert hints[remote.name == "openai"] in str(exc.hint)
    assert exc.retryable == (how in ("busy", "gateway"))
    assert len(remote.sent()) == 1, "the client retried by itself"


@pytest.mark.parametrize("how", ["error", "cut", "unfinished", "garbage"])
def test_error_within_the_answer_keeps_the_text_so_far(remote: Remote, how: str) -> None:
    exc = remote.failure(how, ask())
    assert type(exc) is GenerationFailed
    messages = {
        "error": "the runner has crashed",
        "cut": "the connection was closed",
        "unfinished": "the runner ended" if remote.name == "ollama" else "the stream ended",
        "garbage": "not a valid message" if remote.name == "ollama" else "not valid JSON",
    }
    assert messages[how] in exc.message
    assert exc.partial == STREAMED
    assert "Run the line again" in str(exc.hint)


@pytest.mark.parametrize("name", ["ollama", "openai"])
def test_server_that_stopped_after_loading_is_unavailable(name: str) -> None:
    with ProtocolServer() as server:
        model = remote_of(name, server).load()
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        model.generate(ask())


@pytest.mark.parametrize(("how", "kind"), [("hang", ModelUnavailable), ("slow", GenerationFailed)])
def test_machine_that_is_gone(
    remote: Remote, how: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system reports it (`remote.KEEPALIVE`): a time-out before the deadline."""
    model = remote.load()
    remote.server.fail(how)
    real_client, real_open = OpenAIServer.client, ollama_server.open_client
    monkeypatch.setattr(OpenAIServer, "client", lambda server, _, h: real_client(server, 0.1, h))
    monkeypatch.setattr(ollama_server, "open_client", lambda host, _, h: real_open(host, 0.1, h))
    with pytest.raises(kind):
        model.generate(ask())


# Interruption


@pytest.mark.parametrize(("how", "partial"), [("hang", ""), ("slow", STREAMED)])
def test_deadline_ends_a_hanging_or_slow_answer(remote: Remote, how: str, partial: str) -> None:
    started = time.monotonic()
    exc = remote.failure(how, ask(deadline=0.8))
    assert time.monotonic() - started < 3
    assert isinstance(exc, DeadlineExceeded)
    assert exc.partial.startswith(partial)
    assert "within 0.8 s" in exc.message


def test_cancellation_closes_the_connection(remote: Remote) -> None:
    model = remote.load()
    remote.server.fail("hang")
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        model.generate(ask(), cancel=cancel)
    assert time.monotonic() - started < 2
    assert remote.server.disconnected.wait(20)
    assert not [thread for thread in threading.enumerate() if thread.name == "generation"]


def test_ctrl_c_closes_the_connection(remote: Remote) -> None:
    model = remote.load()
    remote.server.fail("hang")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.generate(ask(deadline=5))
    assert time.monotonic() - started < 2
    assert remote.server.disconnected.wait(20)
