"""Backends that are imported on first use, and the backends of the framework."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass
class LazyBackend:
    """A backend that is imported on first use.

    Attributes:
        make: imports and returns the backend.
        refuse: returns the reason why an entry cannot be served if it is known without the backend.
    """

    name: str
    make: Callable[[], Backend]
    refuse: Callable[[ServeEntry], Availability | None] = lambda _: None

    @cached_property
    def imported(self) -> Backend:
        return self.make()

    @cached_property
    def _of_several(self) -> Backend:
        from harness.models.backends.server_group import BalancedBackend

        return BalancedBackend(self.imported)

    def _serving(self, entry: ServeEntry) -> Backend:
        return self._of_several if entry.urls else self.imported

    def probe(self, entry: ServeEntry) -> Availability:
        return self.refuse(entry) or self._serving(entry).probe(entry)

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

    return [
        LazyBackend("llamacpp", llamacpp),
        LazyBackend("ollama", ollama, without_ollama),
        LazyBackend("openai", openai),
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
