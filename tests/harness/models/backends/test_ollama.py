"""What is specific to Ollama: options, capabilities and addresses. See also tests/contract."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ollama
import pytest
from backend_requests import SCHEMA, ask, judge
from protocol_server import DIGEST, ProtocolServer

from harness.errors import GenerationFailed, InputError, ModelUnavailable, SkillFailed
from harness.models.backend import Availability, Message, Model, Reply, Request, Token
from harness.models.backends import ollama_server
from harness.models.backends.generation import GenerationState
from harness.models.backends.ollama import OllamaBackend, OllamaModel
from harness.models.registry import FileEntry, ServeEntry
from harness.models.weights import FileStore
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
            "truncate": False,
            "shift": False,
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
    yaml = 'invalid format: "\\"yaml\\""; expected "json" or a valid JSON Schema object'
    for wrong, status, message in (
        ({"options": {"stop": "END"}}, 500, 'option "stop" must be of type array'),
        ({"options": {"num_ctx": "2048"}}, 500, 'option "num_ctx" must be of type integer'),
        ({"options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32'),
        ({"format": "yaml"}, 500, yaml),
        ({"think": True}, 400, '"smollm2" does not support thinking'),
    ):
        answer = requests.post(f"{failing_server.url}/api/chat", json={**chat, **wrong}, timeout=5)
        assert (answer.status_code, answer.json()) == (status, {"error": message})
    empty = requests.post(f"{failing_server.url}/api/chat", json={"model": "smollm2"}, timeout=5)
    assert empty.json()["done_reason"] == "load"
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
    assert ollama_server.DOWNLOAD not in str(caught.value)


def test_where_ollama_is_downloaded_if_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(ollama_server, "DEFAULT_HOST", "http://127.0.0.1:9")
    with pytest.raises(
        ModelUnavailable, match=r"Install Ollama from https://ollama.com/download\."
    ):
        OllamaBackend().load(ServeEntry(backend="ollama", model="smollm2"))


@pytest.mark.parametrize(("temperature", "whole"), [(0.0, {"top_k": 0, "top_p": 1.0}), (0.7, {})])
def test_greedy_request_disables_sampling_limits(
    temperature: float, whole: dict[str, float]
) -> None:
    with ProtocolServer(FakeModel("4")) as server:
        load(server).generate(judge(temperature=temperature))
        options = server.bodies("/api/chat")[-1]["options"]
    assert {name: options[name] for name in ("top_k", "top_p") if name in options} == whole


# Prefill

RATING = Reply("4", "length", 9, 1, 0.1, 0, ({"4": -0.1, "5": -2.0},), (Token("4", -0.1),))


@pytest.fixture
def rating() -> Iterator[ProtocolServer]:
    with ProtocolServer(FakeModel(RATING)) as server:
        yield server


@pytest.mark.parametrize("kind", ["continued", "repeated"])
def test_a_begun_answer_is_not_part_of_the_reply(rating: ProtocolServer, kind: str) -> None:
    rating.prefill = kind
    model, pieces = load(rating), list[str]()
    reply = model.generate(judge(), pieces.append)
    assert (reply.text, "".join(pieces)) == ("4", "4")
    assert (reply.logprobs, reply.tokens) == (RATING.logprobs, RATING.tokens)
    assert model.continues_prefill


def test_a_beginning_that_is_ignored_is_refused(rating: ProtocolServer) -> None:
    rating.prefill = "ignored"
    model = load(rating)
    assert not model.continues_prefill
    with pytest.raises(SkillFailed, match="does not continue a prefilled answer"):
        model.generate(judge())
    assert model.generate(judge(prefill="")).text == "4"


@pytest.mark.parametrize("kind", ["continued", "repeated", "ignored"])
def test_a_server_that_shows_no_prompt_is_not_trusted(rating: ProtocolServer, kind: str) -> None:
    rating.prefill, rating.renders = kind, False
    assert load(rating).continues_prefill is (kind == "repeated")


def test_the_treatment_of_a_beginning_is_measured_once(rating: ProtocolServer) -> None:
    backend = OllamaBackend()
    for _ in range(2):
        model = backend.load(entry(rating))
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(model.generate, [judge()] * 3))
    sent = rating.bodies("/api/chat")
    assert len(sent) == 2 + 6
    assert [body["options"]["num_predict"] for body in sent[:2]] == [1, 1]
    assert sum("_debug_render_only" in body for body in sent) == 1


def test_tokens_of_a_repeated_beginning_are_dropped() -> None:
    state = GenerationState(judge())
    for text in ("Rating", ":", " ", "4"):
        state.add_token(Token(text, -0.5), [(text, -0.5)])
    state.drop_tokens("Rating: ")
    assert [token.text for token in state.tokens] == ["4"]
    assert state.logprobs == [{"4": -0.5}]
    state.drop_tokens("Rating: ")
    assert [token.text for token in state.tokens] == ["4"]


# Refusals and prompts that do not fit


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("schema", SkillFailed, "answers 400: failed to parse grammar"),
        ("unfinished", GenerationFailed, "the runner ended"),
    ],
)
def test_errors_state_what_happened(
    failing_server: ProtocolServer, how: str, kind: type[Exception], message: str
) -> None:
    model = load(failing_server)
    failing_server.fail(how)
    with pytest.raises(kind) as caught:
        model.generate(ask())
    assert message in str(caught.value)
    assert "{" not in str(caught.value)


@pytest.mark.parametrize(
    "message", ['option "stop" must be of type array', 'invalid format: "x"; expected "json"']
)
def test_a_refused_request_does_not_make_the_model_unavailable(message: str) -> None:
    model = OllamaModel(entry("http://127.0.0.1:9"), "", 1, {})
    assert type(model._error(ollama.ResponseError(message, 500))) is SkillFailed
    died = ollama.ResponseError("llama runner process has terminated", 500)
    assert type(model._error(died)) is ModelUnavailable


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "cuts"])
def test_a_prompt_that_is_longer_than_num_ctx_is_an_input_error(refuses: bool) -> None:
    with ProtocolServer(FakeModel("Yes.")) as server:
        server.refuses_long = refuses
        model = load(server)
        assert model.generate(ask("letters " * 2000)).text == "Yes."
        with pytest.raises(InputError, match="context") as caught:
            model.generate(ask(("ab " if refuses else "intercontinentally ") * 3000))
    assert "Shorten the input" in str(caught.value)


# Identity of models


def test_another_model_of_that_name_is_not_used(failing_server: ProtocolServer) -> None:
    named = entry(failing_server).model_copy(update={"digest": "12" * 32})
    with pytest.raises(ModelUnavailable) as caught:
        OllamaBackend().load(named)
    assert caught.value.message == (
        f"smollm2 at {failing_server.url} is another model: digest abababab, expected 12121212; "
        "`--model ollama/smollm2` uses this model"
    )
    failing_server.made_of = ()
    backend = OllamaBackend()
    assert "does not state its files" in backend.probe(named).reason
    failing_server.made_of = ("cd" * 32, "12" * 32)
    assert backend.probe(named) == Availability(True), "asked again"
    own = entry(failing_server).model_copy(update={"digest": DIGEST})
    assert OllamaBackend().probe(own) == Availability(True)


def test_the_files_of_the_registry_identify_a_model(
    failing_server: ProtocolServer, tmp_path: Path
) -> None:
    files = {
        "base": FileEntry(path="base.gguf", sha256="ef" * 32),
        "lora": FileEntry(path="lora.gguf", sha256="12" * 32),
    }
    backend = OllamaBackend(FileStore(files, tmp_path, print))
    named = entry(failing_server).model_copy(update={"gguf": "base", "adapter": "lora"})
    assert "is another model" in backend.probe(named).reason
    failing_server.made_of = ("ef" * 32,)
    assert (
        "is another model" in OllamaBackend(FileStore(files, tmp_path, print)).probe(named).reason
    )
    failing_server.made_of = ("00" * 32, "12" * 32)
    on_another_base = OllamaBackend(FileStore(files, tmp_path, print)).probe(named)
    assert "is another model" in on_another_base.reason
    assert "expected 12121212 + efefefef" in on_another_base.reason
    failing_server.made_of = ("ef" * 32, "12" * 32)
    assert OllamaBackend(FileStore(files, tmp_path, print)).probe(named) == Availability(True)


def test_what_nobody_expects_at_ollama_is_absent(
    failing_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"

    def absent(**fields: Any) -> bool:
        found = OllamaBackend().probe(ServeEntry(backend="ollama", model="none:1b", **fields))
        assert not found.available
        return found.absent

    monkeypatch.setenv("OLLAMA_HOST", failing_server.url)
    assert absent()
    assert not absent(url=failing_server.url), "the entry names the server"
    assert not absent(digest="12" * 32), "the entry was made for the model there"
    monkeypatch.setenv("OLLAMA_HOST", nowhere)
    assert not absent(), "the user names the server"
    monkeypatch.delenv("OLLAMA_HOST")
    monkeypatch.setattr(ollama_server, "DEFAULT_HOST", nowhere)
    assert absent()


def test_models_without_a_digest_do_not_share_a_measurement() -> None:
    first, second = (OllamaModel(entry("http://127.0.0.1:9", n), "", 1, {}) for n in ("a", "b"))
    assert (first.digests, second.digests) == ({}, {})
    assert first._key != second._key
