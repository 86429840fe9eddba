"""Backends that are imported on first use, and Ollama where there is none."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness.models.backend import Availability
from harness.models.backends import server_group
from harness.models.registry import ServeEntry
from harness.plugins import plugin_table
from harness.plugins.plugin_table import LazyBackend, own_backends, without_ollama

ENTRY = ServeEntry(backend="ollama", model="planner")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server where Ollama is by default."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(plugin_table, "OLLAMA", listening.getsockname())
        yield listening


def test_ollama_is_not_imported_where_nothing_listens(server: socket.socket) -> None:
    host, port = server.getsockname()
    server.close()
    absent = Availability(False, f"no Ollama server at http://{host}:{port}", absent=True)
    [ollama] = (one for one in own_backends(None) if one.name == "ollama")
    assert ollama.probe(ENTRY) == absent
    assert "imported" not in vars(ollama)
    assert not ollama.probe(ENTRY.model_copy(update={"digest": "12" * 32})).absent


def test_a_server_is_asked_where_one_may_answer(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert without_ollama(ENTRY) is None
    server.close()
    assert without_ollama(ENTRY.model_copy(update={"url": "http://box:11434"})) is None
    monkeypatch.setenv("OLLAMA_HOST", "http://box:11434")
    assert without_ollama(ENTRY) is None


def test_several_servers_are_balanced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        name = "openai"

        def __init__(self, reason: str) -> None:
            self.reason = reason

        def probe(self, entry: ServeEntry) -> Availability:
            return Availability(True, self.reason)

    monkeypatch.setattr(server_group, "BalancedBackend", lambda one: Named(f"several {one.reason}"))
    lazy = LazyBackend("openai", lambda: Named("one"))
    assert lazy.probe(ENTRY).reason == "one"
    assert lazy.probe(ENTRY.model_copy(update={"urls": ("http://a", "http://b")})).reason == (
        "several one"
    )
