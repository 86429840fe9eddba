"""Servers that are faulty or hostile, over real sockets, with both protocols."""

from __future__ import annotations

import time

import pytest
from backend_requests import ask
from faulty_server import FAULTS, MODEL, FaultyServer

from harness.errors import (
    DeadlineExceeded,
    HarnessError,
    ModelBusy,
    ModelChanged,
    ModelUnavailable,
    SkillFailed,
)
from harness.models.backend import Model
from harness.models.backends import generation
from harness.models.backends.ollama import OllamaBackend
from harness.models.backends.openai import OpenAIBackend
from harness.models.registry import ServeEntry

KEY = "sk-faulty-0123456789"
protocols = pytest.mark.parametrize("protocol", ["ollama", "openai"])


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)


def load(protocol: str, server: FaultyServer, **fields: str) -> Model:
    backend = OpenAIBackend() if protocol == "openai" else OllamaBackend()
    url = f"{server.url}/v1" if protocol == "openai" else server.url
    return backend.load(ServeEntry(backend=protocol, model=MODEL, url=url, **fields))


def failure(protocol: str, fault: str) -> HarnessError:
    with FaultyServer(fault) as server, pytest.raises(HarnessError) as caught:
        load(protocol, server).generate(ask(deadline=2))
    return caught.value


@pytest.mark.slow
@protocols
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_time_with_an_error_of_the_harness(protocol: str, fault: str) -> None:
    started = time.monotonic()
    with FaultyServer(fault) as server:
        try:
            text = load(protocol, server).generate(ask(deadline=1)).text
        except HarnessError as exc:
            text = str(exc)
    assert time.monotonic() - started < 6
    assert len(text) < 1500
    assert KEY not in text
    assert server.redirected == []


@protocols
@pytest.mark.parametrize(
    "fault", ["gzip bomb", "endless line", "endless answer", "endless event of lines"]
)
def test_what_a_server_sends_has_a_limit(protocol: str, fault: str) -> None:
    exc = failure(protocol, fault)
    assert isinstance(exc, SkillFailed)
    assert not exc.retryable or "not finished" in exc.message or protocol == "ollama"


@protocols
@pytest.mark.parametrize(
    "fault",
    ["error: object", "error: list", "error: text", "error within: object", "error within: list"],
)
def test_the_reason_of_an_error_is_read_whatever_its_type(protocol: str, fault: str) -> None:
    assert "out of memory" in failure(protocol, fault).message


@protocols
def test_of_a_long_error_only_the_beginning_is_shown(protocol: str) -> None:
    assert 500 < len(failure(protocol, "error: 20 MB").message) < 600


@protocols
def test_a_busy_server_states_how_long_to_wait(protocol: str) -> None:
    exc = failure(protocol, "429, an object, Retry-After 999999")
    assert isinstance(exc, ModelBusy)
    assert exc.wait == 999_999
    assert "answers 429: slow down (Retry-After 999,999 s)" in exc.message
    assert isinstance(failure(protocol, "503 once"), ModelBusy)


@protocols
def test_empty_pieces_are_no_progress(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "STALLED", 0.5)
    with FaultyServer("endless empty pieces") as server, pytest.raises(DeadlineExceeded) as caught:
        load(protocol, server).generate(ask(deadline=30))
    assert caught.value.message == "the answer made no progress for 0.5 s"
    assert caught.value.partial == "One. "


@protocols
@pytest.mark.parametrize("fault", ["307 to another host", "308 to another port"])
def test_a_redirect_to_another_host_is_refused_with_both_names(protocol: str, fault: str) -> None:
    with FaultyServer(fault) as server, pytest.raises(ModelUnavailable) as caught:
        load(protocol, server).generate(ask(deadline=2))
    assert server.url in caught.value.message
    assert f":{server.other}, to which nothing was sent" in caught.value.message
    assert server.redirected == []


@protocols
def test_the_registry_permits_a_redirect_to_one_host(protocol: str) -> None:
    with FaultyServer("307 to another host") as server, pytest.raises(HarnessError):
        load(protocol, server, allow_redirects_to="localhost").generate(ask(deadline=2))
    assert server.redirected[0].startswith(b"POST /api/chat")
    assert KEY.encode() not in server.redirected[0]


def test_a_digest_that_changes_ends_the_run_with_both() -> None:
    with FaultyServer("none") as server:
        model = load("ollama", server)
        assert model.generate(ask()).text == "One."
        server.digest = "cd" * 32
        with pytest.raises(ModelChanged, match=r"sound:1b .*: c[cd]+ instead of a[ab]+"):
            model.generate(ask())
        assert load("ollama", server).digests == {"ollama": "cd" * 32}


def test_a_name_that_changes_ends_the_run_with_both() -> None:
    with FaultyServer("none") as server:
        model = load("openai", server)
        server.served = "sound-2026-01"
        assert model.generate(ask()).text == model.generate(ask()).text == "One."
        server.served = "sound-2026-02"
        with pytest.raises(ModelChanged, match="sound-2026-02 instead of sound-2026-01"):
            model.generate(ask())


@protocols
def test_a_key_that_the_server_repeats_is_not_shown(protocol: str) -> None:
    pieces: list[str] = []
    with FaultyServer("the key is repeated") as server:
        model = load(protocol, server, api_key_env="OPENAI_API_KEY")
        reply = model.generate(ask(deadline=5), pieces.append)
    assert reply.text == "".join(pieces)
    if protocol == "openai":  # Ollama's client takes its key only from the environment
        assert reply.text == "[redacted] is your key"
        assert KEY not in str(failure(protocol, "the key is refused"))
        assert "[redacted]" in str(failure(protocol, "the key within an error"))
