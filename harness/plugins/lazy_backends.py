"""Backends that are imported on first use, and the backends of the framework."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from harness.models.backend import Availability

if TYPE_CHECKING:
    from harness.models.backend import Backend, Model
    from harness.models.registry import ServeEntry
    from harness.models.weights import FileStore

OLLAMA = ("127.0.0.1", 11434)
"""The address of Ollama, unless an entry or OLLAMA_HOST contains another address."""
CONNECT_SECONDS = 1.0


class LazyBackend:
    """A backend that is imported on first use.

    Args:
        load: imports and returns the backend.
        balanced: returns the backend for entries with several `urls`, given the backend for single
            addresses.
        refuse: returns why an entry is unavailable, if this is known without importing the backend.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Backend],
        balanced: Callable[[Backend], Backend] = lambda backend: backend,
        refuse: Callable[[ServeEntry], Availability | None] = lambda _: None,
    ) -> None:
        self.name = name
        self._load = load
        self._balanced = balanced
        self._refuse = refuse

    @cached_property
    def imported(self) -> Backend:
        return self._load()

    @cached_property
    def _of_several(self) -> Backend:
        return self._balanced(self.imported)

    def _serving(self, entry: ServeEntry) -> Backend:
        return self._of_several if entry.urls else self.imported

    def probe(self, entry: ServeEntry) -> Availability:
        return self._refuse(entry) or self._serving(entry).probe(entry)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        return self._serving(entry).load(entry, slots)


def own_backends(files: FileStore) -> list[Backend]:
    """Return the backends of the framework."""

    def llamacpp() -> Backend:
        from harness.models.backends.llamacpp import LlamaCppBackend

        return LlamaCppBackend(files)

    def ollama() -> Backend:
        from harness.models.backends.ollama import OllamaBackend

        return OllamaBackend(files)

    def openai() -> Backend:
        from harness.models.backends.openai import OpenAIBackend

        return OpenAIBackend()

    def balanced(backend: Backend) -> Backend:
        from harness.models.backends.server_group import BalancedBackend

        return BalancedBackend(backend)

    return [
        LazyBackend("llamacpp", llamacpp),
        LazyBackend("ollama", ollama, balanced, without_ollama),
        LazyBackend("openai", openai, balanced),
    ]


def without_ollama(entry: ServeEntry) -> Availability | None:
    """Return why Ollama is unavailable if its port is closed; None if a server may answer.

    Most machines have no Ollama, and importing its client takes longer than annotating six
    abstracts with a reader.
    """
    if entry.addresses or os.environ.get("OLLAMA_HOST"):
        return None
    try:
        socket.create_connection(OLLAMA, CONNECT_SECONDS).close()
    except OSError:
        host, port = OLLAMA
        reason = f"no Ollama server at http://{host}:{port}"
        return Availability(False, reason, absent=not entry.digest)
    return None
