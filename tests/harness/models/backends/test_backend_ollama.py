"""Ollama's backend through its real client, over real sockets, against the protocol server."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from protocol_server import DIGEST, Meeting, ProtocolServer

from harness.errors import (
    DeadlineExceeded,
    GenerationFailed,
    HarnessError,
    Interrupted,
    ModelBusy,
    ModelUnavailable,
    SkillFailed,
)
from harness.models.backends.base import Availability, Message, Model, Request
from harness.models.backends.ollama import OllamaBackend, OllamaModel
from harness.models.backends.remote import is_local
from harness.models.schema import ServeEntry

SCHEMA = {
    "type": "object",
    "properties": {
        "zeal": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["cat", None]},
    },
    "required": ["zeal", "age", "kind"],
    "additionalProperties": False,
}
STREAMED = "piece 0 piece 1 piece 2 "


def ask(text: str = "Name three colours.", **fields: object) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 16, **fields})


def entry(server: ProtocolServer | str, model: str = "smollm2") -> ServeEntry:
    url = server if isinstance(server, str) else server.url
    return ServeEntry(backend="ollama", model=model, url=url, context=2048)


def load(server: ProtocolServer) -> OllamaModel:
    return OllamaBackend().load(entry(server))


def failure(server: ProtocolServer, how: str, **fields: object) -> HarnessError:
    """What a generation raises when the server fails in that way."""
    model = load(server)
    server.fail(how)
    with pytest.raises(HarnessError) as caught:
        model.generate(ask(**fields))
    return caught.value


@pytest.fixture
def nobody() -> str:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://127.0.0.1:11434", True),
        ("127.0.0.2", True),
        ("localhost:11434", True),
        (":11434", True),
        ("0.0.0.0", True),
        ("[::1]:11434", True),
        ("https://LOCALHOST/v1", True),
        ("https://api.openai.com/v1", False),
        ("192.168.0.7:11434", False),
        ("localhost.example.org", False),
    ],
)
def test_which_addresses_are_of_this_machine(address: str, local: bool) -> None:
    assert is_local(address) == local


def test_no_proxy_is_asked_for_a_server_of_this_machine(
    failing_server: ProtocolServer, dead_proxy: None
) -> None:
    assert OllamaBackend().probe(entry(failing_server)) == Availability(True)


# Generating


@pytest.mark.model
def test_pieces_add_up_to_the_text_and_tokens_are_counted(
    protocol_server: ProtocolServer, embedded: Model
) -> None:
    pieces: list[str] = []
    reply = load(protocol_server).generate(ask(seed=3), pieces.append)
    same = embedded.generate(ask(seed=3))
    assert len(pieces) > 3
    assert "".join(pieces) == reply.text == same.text
    assert (reply.prompt_tokens, reply.completion_tokens) == (34, 16)
    assert reply.finish_reason == "length"
    assert 0 < reply.seconds < 60


@pytest.mark.model
def test_every_option_is_sent_as_ollama_wants_it(protocol_server: ProtocolServer) -> None:
    messages = (Message("system", "Be brief."), Message("user", "Hi"))
    load(protocol_server).generate(
        Request(messages, max_tokens=3, temperature=0.5, seed=9, stop=("END",), deadline=30)
    )
    assert protocol_server.bodies("/api/chat") == [
        {
            "model": "smollm2",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ],
            "tools": [],
            "stream": True,
            "think": False,
            "options": {
                "num_ctx": 2048,
                "num_predict": 3,
                "temperature": 0.5,
                "seed": 9,
                "stop": ["END"],
            },
        }
    ]


@pytest.mark.model
def test_without_stop_texts_the_models_own_stay_in_force(protocol_server: ProtocolServer) -> None:
    load(protocol_server).generate(ask(max_tokens=2))
    assert "stop" not in protocol_server.bodies("/api/chat")[0]["options"]


@pytest.mark.model
def test_json_under_a_schema_is_valid_and_in_order(protocol_server: ProtocolServer) -> None:
    reply = load(protocol_server).generate(ask("A pet.", max_tokens=60, json_schema=SCHEMA))
    data = json.loads(reply.text)
    jsonschema.validate(data, SCHEMA)
    assert list(data) == ["zeal", "age", "kind"]
    assert reply.finish_reason == "stop"
    sent = protocol_server.bodies("/api/chat")[0]["format"]
    assert json.dumps(sent) == json.dumps(SCHEMA)  # the order of properties included


@pytest.mark.model
def test_stop_texts_end_the_completion(protocol_server: ProtocolServer) -> None:
    model = load(protocol_server)
    whole = model.generate(ask(max_tokens=30)).text
    word = whole.split()[4]
    reply = model.generate(ask(max_tokens=30, stop=(word,)))
    assert reply.text == whole[: whole.index(word)]
    assert reply.finish_reason == "stop"


@pytest.mark.model
def test_a_deadline_and_a_cancelled_run_reach_a_generating_server(
    protocol_server: ProtocolServer,
) -> None:
    model = load(protocol_server)
    with pytest.raises(DeadlineExceeded) as caught:
        model.generate(ask("Tell a long story.", max_tokens=1500, deadline=0.8))
    assert caught.value.partial
    assert protocol_server.disconnected.wait(5)
    cancel = threading.Event()
    with pytest.raises(Interrupted):
        model.generate(ask(max_tokens=1500), lambda _: cancel.set(), cancel)
    assert model.generate(ask(max_tokens=2)).completion_tokens == 2


@pytest.mark.model
def test_generations_at_the_same_time_keep_their_texts_and_their_errors(
    protocol_server: ProtocolServer, embedded: Model
) -> None:
    model = load(protocol_server)
    texts = ("Name three colours.", "Count to nine.", "Say hello.")
    cancel = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        cancelled = pool.submit(
            model.generate, ask(max_tokens=1500), lambda _: cancel.set(), cancel
        )
        late = pool.submit(model.generate, ask("A long story.", max_tokens=1500, deadline=0.5))
        replies = [pool.submit(model.generate, ask(text, max_tokens=8)) for text in texts]
    assert isinstance(cancelled.exception(), Interrupted)
    assert isinstance(late.exception(), DeadlineExceeded)
    expected = [embedded.generate(ask(text, max_tokens=8)).text for text in texts]
    assert [reply.result().text for reply in replies] == expected


def test_generations_are_with_the_server_at_the_same_time() -> None:
    model = Meeting(3)
    with ProtocolServer(model) as server:
        ours = OllamaBackend().load(entry(server), slots=3)
        assert ours.slots == 3
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(ours.generate, ask(f"Say {n}.")) for n in range(3)]
        assert [reply.result().text for reply in asked] == ["Say 0.", "Say 1.", "Say 2."]


def test_slots_are_asked_for_or_set_and_never_guessed(failing_server: ProtocolServer) -> None:
    backend, place = OllamaBackend(), entry(failing_server)
    assert backend.load(place).slots == 1
    assert backend.load(place, slots=None).slots == 1
    assert backend.load(place.model_copy(update={"slots": 6}), slots=None).slots == 6
    assert backend.load(place.model_copy(update={"slots": 6}), slots=2).slots == 2


def test_the_context_is_the_one_asked_for_and_tokens_are_not_counted(
    failing_server: ProtocolServer,
) -> None:
    model: Model = load(failing_server)
    assert model.context == 2048
    assert model.count_tokens(ask()) is None


# Probing and loading


def test_probe_knows_what_is_pulled(failing_server: ProtocolServer) -> None:
    backend = OllamaBackend()
    assert backend.probe(entry(failing_server)) == Availability(True)
    assert backend.probe(entry(failing_server, "smollm2:latest")) == Availability(True)
    assert backend.probe(entry(failing_server, "smollm2:135m")) == Availability(
        False, "Ollama has no smollm2:135m"
    )
    assert backend.probe(entry(failing_server, "hub.example:5000/smollm2")).available is False
    assert [recorded.path for recorded in failing_server.requests] == ["/api/tags"]


def test_what_is_pulled_meanwhile_is_seen_after_two_seconds(
    failing_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = OllamaBackend()
    assert not backend.probe(entry(failing_server, "new")).available
    failing_server.names = ("new:latest",)
    now = time.monotonic()
    monkeypatch.setattr("harness.models.backends.remote.time.monotonic", lambda: now + 3)
    assert backend.probe(entry(failing_server, "new")).available


def test_load_tells_the_digest_and_refuses_what_is_absent(failing_server: ProtocolServer) -> None:
    model = load(failing_server)
    assert model.digests == {"ollama": DIGEST}
    assert not model.takes_grammar
    with pytest.raises(ModelUnavailable, match="Ollama has no other"):
        OllamaBackend().load(entry(failing_server, "other"))


def test_no_server_is_said_with_its_address(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert OllamaBackend().probe(entry(nobody)).reason == f"no Ollama server at {nobody}"
    monkeypatch.setenv("OLLAMA_HOST", nobody)
    from_environment = ServeEntry(backend="ollama", model="smollm2")
    with pytest.raises(ModelUnavailable, match=f"no Ollama server at {nobody}") as caught:
        OllamaBackend().load(from_environment)
    assert "ollama serve" in str(caught.value)


@pytest.mark.parametrize("host", ["http://[bad", "localhost:port"])
def test_an_address_that_is_none_is_said(host: str) -> None:
    with pytest.raises(ModelUnavailable, match="not the address of an Ollama server") as caught:
        OllamaBackend().load(entry(host))
    assert "11434" in str(caught.value)


def test_a_server_that_is_not_ollama_is_said(failing_server: ProtocolServer) -> None:
    elsewhere = OllamaBackend().probe(entry(f"{failing_server.url}/other"))
    assert (elsewhere.available, "answers 404" in elsewhere.reason) == (False, True)


def test_a_server_that_says_nothing_does_not_hold_up_the_probe() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        probed = OllamaBackend().probe(entry(f"http://127.0.0.1:{mute.getsockname()[1]}"))
    assert "does not answer" in probed.reason
    assert time.monotonic() - begun < 3


def test_a_server_of_another_protocol_is_said() -> None:
    def greet(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as mail:
        thread = threading.Thread(target=greet, args=(mail,))
        thread.start()
        probed = OllamaBackend().probe(entry(f"http://127.0.0.1:{mail.getsockname()[1]}"))
        thread.join()
    assert "is not Ollama" in probed.reason


# Failing


@pytest.mark.parametrize(
    ("how", "kind", "says", "hint"),
    [
        ("missing", ModelUnavailable, "has no model 'smollm2'", "ollama pull smollm2"),
        ("busy", ModelBusy, "maximum pending requests", "try again"),
        ("load_error", ModelUnavailable, "error loading model", "log"),
        ("refuse", SkillFailed, "this request is not taken", "will not help"),
        ("drop", ModelUnavailable, "cannot be reached", "ollama serve"),
    ],
)
def test_a_refusal_is_told_apart_by_its_status(
    failing_server: ProtocolServer, how: str, kind: type, says: str, hint: str
) -> None:
    exc = failure(failing_server, how)
    assert type(exc) is kind
    assert says in exc.message
    assert failing_server.url in exc.message
    assert hint in str(exc.hint)
    assert exc.retryable == (how == "busy")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("error", "the runner has crashed"),
        ("cut", "the connection was cut"),
        ("unfinished", "without its last line"),
        ("garbage", "no valid JSON"),
    ],
)
def test_an_answer_that_breaks_off_keeps_what_came(
    failing_server: ProtocolServer, how: str, says: str
) -> None:
    exc = failure(failing_server, how)
    assert type(exc) is GenerationFailed
    assert says in exc.message
    assert exc.partial == STREAMED
    assert "Run it again" in str(exc.hint)


def test_a_server_that_went_away_after_loading_is_unavailable(nobody: str) -> None:
    model = OllamaModel(entry(nobody), nobody, DIGEST)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        model.generate(ask())


@pytest.mark.parametrize(("how", "partial"), [("hang", ""), ("slow", STREAMED)])
def test_the_deadline_holds_whether_the_server_hangs_or_dribbles(
    failing_server: ProtocolServer, how: str, partial: str
) -> None:
    begun = time.monotonic()
    exc = failure(failing_server, how, deadline=0.8)
    assert time.monotonic() - begun < 3
    assert isinstance(exc, DeadlineExceeded)
    assert exc.partial.startswith(partial)
    assert "within 0.8 s" in exc.message


def test_cancelling_cuts_the_connection_to_a_server_that_hangs(
    failing_server: ProtocolServer,
) -> None:
    model = load(failing_server)
    failing_server.fail("hang")
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        model.generate(ask(), cancel=cancel)
    assert time.monotonic() - begun < 2
    assert failing_server.disconnected.wait(3)
    assert not [t for t in threading.enumerate() if t.name == "generation"]


def test_ctrl_c_cuts_the_connection_to_a_server_that_hangs(failing_server: ProtocolServer) -> None:
    model = load(failing_server)
    failing_server.fail("hang")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.generate(ask(deadline=5))
    assert time.monotonic() - begun < 2
    assert failing_server.disconnected.wait(3)


def test_the_protocol_server_refuses_what_ollama_refuses(failing_server: ProtocolServer) -> None:
    import requests

    chat = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}]}
    for wrong in (
        {"options": {"stop": "END"}},
        {"options": {"num_ctx": "2048"}},
        {"format": "yaml"},
        {"think": True},
        {"messages": []},
    ):
        answer = requests.post(f"{failing_server.url}/api/chat", json={**chat, **wrong}, timeout=5)
        assert (answer.status_code, "error" in answer.json()) == (400, True)
    absent = requests.post(f"{failing_server.url}/api/chat", json={"model": "no"}, timeout=5)
    assert absent.status_code == 404
    assert requests.get(failing_server.url, timeout=5).text == "Ollama is running"
    assert "version" in requests.get(f"{failing_server.url}/api/version", timeout=5).json()
    shown = requests.post(f"{failing_server.url}/api/show", json=chat, timeout=5)
    assert shown.json()["capabilities"] == ["completion", "tools"]
