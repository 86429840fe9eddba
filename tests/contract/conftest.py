"""The backends under test: embedded, Ollama, and OpenAI-compatible over two servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from backend_requests import KEY, Remote, remote_of
from protocol_server import ProtocolServer
from repository import EMBEDDED

from harness.models.backend import Model
from harness.models.backends import llamacpp
from harness.models.backends.openai import OpenAIBackend
from harness.models.backends.server_group import BalancedBackend
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(params=["ollama", "openai"])
def remote(request: pytest.FixtureRequest, failing_server: ProtocolServer) -> Remote:
    """A server without a model, for tests of errors and of what is sent."""
    return remote_of(request.param, failing_server)


@pytest.fixture
def closed_port() -> int:
    """A port that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="session")
def llama_server(model_files: FileStore) -> Iterator[ServeEntry]:
    """llama.cpp's own HTTP server with a context of 512 tokens and a key."""
    params = llamacpp.module().CommonParams()
    params.model.path = str(model_files.ensure(str(EMBEDDED.gguf)))
    params.model_alias = {"smollm2"}
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.n_ctx, params.verbosity, params.api_keys = 512, 0, [KEY]
    params.endpoint_metrics, params.cache_ram_mib, params.warmup = True, 0, False
    llamacpp.assign(params, **llamacpp.cache_settings(llamacpp.module()))
    server = llamacpp.module().Server(params)
    server.handle_metrics()
    yield ServeEntry(backend="openai", model="smollm2", url=f"{server.listening_address}/v1")
    del server  # its destructor stops the server


@pytest.fixture(params=["embedded", "ollama", "openai", "llama-server", "two servers"])
def model(request: pytest.FixtureRequest) -> Model:
    """The same small model, served by each backend."""
    if request.param == "embedded":
        return request.getfixturevalue("embedded")
    if request.param == "llama-server":
        return OpenAIBackend().load(request.getfixturevalue("llama_server"))
    if request.param == "two servers":
        return request.getfixturevalue("two_servers")
    return remote_of(request.param, request.getfixturevalue("protocol_server")).load()


@pytest.fixture
def two_servers(embedded: Model, protocol_server: ProtocolServer) -> Iterator[Model]:
    """The model on two Ollama servers."""
    first = remote_of("ollama", protocol_server)
    with ProtocolServer(embedded) as second:
        entry = first.entry(url=None, urls=(first.url, second.url))
        yield BalancedBackend(first.backend).load(entry)
