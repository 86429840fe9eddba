"""The stage `ollama`: versions, addresses, and servers that fail."""

from __future__ import annotations

import socket

import pytest
from ollama_run import Folder
from ollama_server import OllamaServer

from harness.errors import (
    GenerationFailed,
    HarnessError,
    ModelUnavailable,
    SkillFailed,
    UsageError,
)
from harness.models.pool import ModelPool, Models
from harness.models.registry import ModelEntry, Registry, ServeEntry
from skills.finetune.export.ollama_api import Ollama
from skills.finetune.recipe import overridden

# Versions, addresses and failures


def test_an_ollama_that_takes_no_files_is_too_old(run: Folder, server: OllamaServer) -> None:
    server.version = "0.5.4"
    run.modelfile()
    error = run.refused()
    assert isinstance(error, UsageError)
    assert "Ollama 0.5.4 is too old" in str(error)
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


@pytest.mark.parametrize("version", ["0.34.1", "0.40.0-rc1", "1.0.0"])
def test_a_newer_ollama_is_not_asked_to_quantize(
    unquantized: Folder, server: OllamaServer, version: str
) -> None:
    server.version = version
    error = unquantized.refused()
    assert "does not quantize a GGUF to Q4_K_M" in str(error)
    assert "Run `/finetune quantize`" in str(error)
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


def test_a_newer_ollama_takes_a_quantized_model(run: Folder, server: OllamaServer) -> None:
    server.version = "0.34.1"
    run.modelfile()
    assert run.create()["verified"]


def test_a_newer_ollama_is_not_asked_for_adapters(adapted: Folder, server: OllamaServer) -> None:
    server.version = "0.34.1"
    assert "does not support adapters" in str(adapted.refused())


def test_server_without_a_version_rejects_adapters(adapted: Folder, server: OllamaServer) -> None:
    server.version, server.since = "0.0.0", lambda version: True  # type: ignore[method-assign]
    error = adapted.refused()
    assert isinstance(error, SkillFailed)
    assert "LoRA adapters are no longer supported" in str(error)


def test_unsupported_type_is_refused_before_sending(
    unquantized: Folder, server: OllamaServer
) -> None:
    unquantized.recipe = overridden(unquantized.recipe, {"export.quantize": "Q6_K"})
    unquantized.modelfile()
    assert "does not quantize a GGUF to Q6_K" in str(unquantized.refused())
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("early", SkillFailed, "answers 500: mkdir blobs: permission denied"),
        ("error", SkillFailed, "no space left on device. Ollama stores models in OLLAMA_MODELS"),
        (
            "unfinished",
            GenerationFailed,
            "last status was 'writing manifest' instead of",
        ),
        ("cut", GenerationFailed, "the connection was closed"),
    ],
)
def test_failed_create_is_reported(
    run: Folder, server: OllamaServer, how: str, kind: type[HarnessError], message: str
) -> None:
    run.modelfile()
    server.fail_create(how)
    error = run.refused()
    assert isinstance(error, kind)
    assert message in str(error)
    assert run.out.entry("ollama") is None


def test_a_model_that_is_not_there_is_not_found(server: OllamaServer) -> None:
    with Ollama(server.url) as client, pytest.raises(SkillFailed, match="404: model 'x' not found"):
        client.show("x")


def test_forbidden_host_name_is_reported(server: OllamaServer) -> None:
    port = server.url.rpartition(":")[2]
    with Ollama(f"127.1:{port}") as client, pytest.raises(ModelUnavailable) as caught:
        client.version()
    assert "answers 403: no reason given" in str(caught.value)
    assert "127.0.0.1 or localhost" in str(caught.value)


@pytest.mark.parametrize("body", ["[]", "<html>", "{}"])
def test_other_servers_are_reported(
    run: Folder, server: OllamaServer, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    handler = server._http.RequestHandlerClass
    monkeypatch.setattr(handler, "do_GET", lambda self: self._send(200, body.encode(), "text/html"))
    run.modelfile()
    assert "is not Ollama" in str(run.refused())


def test_missing_server_is_reported(run: Folder, server: OllamaServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
    run.options["host"] = free
    run.modelfile()
    error = run.refused()
    assert isinstance(error, ModelUnavailable)
    assert f"no Ollama server at http://{free}" in str(error)


@pytest.fixture
def unnamed(run: Folder, server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A run that finds the server by OLLAMA_HOST alone."""
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    del run.options["host"]
    run.modelfile()
    return run


def sent(server: OllamaServer) -> list[str]:
    paths = [request.path for request in server.requests]
    return [path for path in paths if path.startswith(("/api/blobs", "/api/create"))]


def test_the_user_confirms_a_server_that_nobody_named_once(
    unnamed: Folder, server: OllamaServer
) -> None:
    questions: list[str] = []
    unnamed.confirm = lambda question: not questions.append(question)  # type: ignore[func-returns-value]
    assert unnamed.create()["host"] == server.url
    size = unnamed.out.quantized("Q8_0").stat().st_size / 1e6
    assert questions == [f"Send ft ({size:,.1f} MB) to Ollama at {server.url}?"]
    server.remove("ft:latest")
    unnamed.create()
    assert len(questions) == 1, "the answer about this run is kept"


@pytest.mark.parametrize("answer", [None, False], ids=["nobody to ask", "refused"])
def test_nothing_is_sent_to_a_server_that_nobody_named(
    unnamed: Folder, server: OllamaServer, answer: bool | None
) -> None:
    unnamed.confirm = None if answer is None else lambda _: False
    error = unnamed.refused()
    assert isinstance(error, UsageError)
    assert f"which nobody has named: `--host {server.url}` names it" in error.message
    assert sent(server) == []


def test_a_server_of_the_registry_is_named(unnamed: Folder, server: OllamaServer) -> None:
    place = ServeEntry(backend="ollama", model="m", url=f"{server.url}/")
    named = Registry(models={"mine": ModelEntry(tasks=("chat",), serve=(place,))})
    unnamed.models = Models(ModelPool(named, {}))
    assert unnamed.create()["host"] == server.url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        (":8000", "http://127.0.0.1:8000"),
        ("box:8000/", "http://box:8000"),
        ("http://box", "http://box"),
        ("https://box/ollama", "https://box/ollama"),
    ],
)
def test_hosts_are_parsed_as_in_ollama_host(host: str, url: str) -> None:
    with Ollama(host) as client:
        assert client.host == url


def test_a_host_that_is_not_an_address_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="is not the address of an Ollama server"):
        Ollama("http://box:port")


def test_a_modelfile_or_a_file_of_it_that_is_missing_is_refused(run: Folder) -> None:
    assert "Modelfile: cannot be read" in str(run.refused())
    run.modelfile()
    run.out.quantized("Q8_0").unlink()
    assert "names ./ft.Q8_0.gguf, which does not exist" in str(run.refused())
    run.out.modelfile.write_text("FROM x\nLICENSE mine\n")
    assert "'LICENSE mine' is not a Modelfile instruction" in str(run.refused())
