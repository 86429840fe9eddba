"""What is specific to Ollama: options, capabilities and addresses. See also tests/contract."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from backend_requests import SCHEMA, ask, judge
from protocol_server import DIGEST, ProtocolServer

from harness.errors import ModelUnavailable
from harness.models.backends.base import Availability, Message, Model, Request
from harness.models.backends.ollama import OllamaBackend, OllamaModel
from harness.models.schema import ServeEntry
from harness.testing import FakeModel


def entry(server: ProtocolServer | str, model: str = "smollm2") -> ServeEntry:
    url = server if isinstance(server, str) else server.url
    return ServeEntry(backend="ollama", model=model, url=url, context=2048)


def load(server: ProtocolServer) -> OllamaModel:
    return OllamaBackend().load(entry(server))


@pytest.mark.model
def test_options_are_sent_in_ollamas_form(protocol_server: ProtocolServer) -> None:
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
def test_no_stop_texts_keep_those_of_the_model(protocol_server: ProtocolServer) -> None:
    load(protocol_server).generate(ask(max_tokens=2))
    assert "stop" not in protocol_server.bodies("/api/chat")[0]["options"]


@pytest.mark.model
def test_schema_is_sent_unchanged(protocol_server: ProtocolServer) -> None:
    load(protocol_server).generate(ask("A pet.", max_tokens=60, json_schema=SCHEMA))
    sent = protocol_server.bodies("/api/chat")[0]["format"]
    assert json.dumps(sent) == json.dumps(SCHEMA), "the order of properties included"


def test_context_is_configured_and_tokens_not_counted(
    failing_server: ProtocolServer,
) -> None:
    model: Model = load(failing_server)
    assert model.context == 2048
    assert model.count_tokens(ask()) is None


def test_probe_compares_full_names(failing_server: ProtocolServer) -> None:
    backend = OllamaBackend()
    assert backend.probe(entry(failing_server)) == Availability(True)
    assert backend.probe(entry(failing_server, "smollm2:latest")) == Availability(True)
    assert backend.probe(entry(failing_server, "smollm2:135m")) == Availability(
        False, "Ollama has no smollm2:135m"
    )
    assert backend.probe(entry(failing_server, "hub.example:5000/smollm2")).available is False
    assert [recorded.path for recorded in failing_server.requests] == ["/api/tags"]


def test_load_reads_the_digest(failing_server: ProtocolServer) -> None:
    model = load(failing_server)
    assert model.digests == {"ollama": DIGEST}
    assert not model.takes_grammar
    with pytest.raises(ModelUnavailable, match="Ollama has no other"):
        OllamaBackend().load(entry(failing_server, "other"))


@pytest.mark.parametrize("host", ["http://[bad", "localhost:port"])
def test_invalid_address_is_refused(host: str) -> None:
    with pytest.raises(ModelUnavailable, match="not the address of an Ollama server") as caught:
        OllamaBackend().load(entry(host))
    assert "11434" in str(caught.value)


def test_server_without_the_endpoint_is_not_ollama(failing_server: ProtocolServer) -> None:
    elsewhere = OllamaBackend().probe(entry(f"{failing_server.url}/other"))
    assert (elsewhere.available, "answers 404" in elsewhere.reason) == (False, True)


def test_silent_server_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        probed = OllamaBackend().probe(entry(f"http://127.0.0.1:{mute.getsockname()[1]}"))
    assert "does not answer" in probed.reason
    assert time.monotonic() - begun < 3


def test_server_of_another_protocol_is_not_ollama() -> None:
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


def test_protocol_server_refuses_what_ollama_refuses(failing_server: ProtocolServer) -> None:
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


def test_host_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable, match="no Ollama server at http") as caught:
        OllamaBackend().load(ServeEntry(backend="ollama", model="smollm2"))
    assert "ollama serve" in str(caught.value)


@pytest.mark.parametrize(("temperature", "whole"), [(0.0, {"top_k": 0, "top_p": 1.0}), (0.7, {})])
def test_greedy_request_disables_sampling_limits(
    temperature: float, whole: dict[str, float]
) -> None:
    with ProtocolServer(FakeModel("4")) as server:
        load(server).generate(judge(temperature=temperature))
        options = server.bodies("/api/chat")[0]["options"]
    assert {name: options[name] for name in ("top_k", "top_p") if name in options} == whole
