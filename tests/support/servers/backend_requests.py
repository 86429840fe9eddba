"""Requests and servers for the tests of backends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from protocol_server import ProtocolServer

from harness.errors import HarnessError
from harness.models.backend import Backend, Message, Model, Request
from harness.models.backends.ollama import OllamaBackend
from harness.models.backends.openai import OpenAIBackend
from harness.models.registry import ServeEntry

KEY = "k-123"

SCHEMA = {
    "type": "object",
    "properties": {
        "zeal": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["zeal", "age"],
    "additionalProperties": False,
}
STREAMED = "piece 0 piece 1 piece 2 "
"""The text that the protocol server sends before it fails."""
ABSTRACT = (
    "We count the birds of forty islands and find that small islands lose species faster. "
    "The loss follows the distance to the coast, not the area. "
) * 3


def ask(text: str = "Name three colours.", **fields: Any) -> Request:
    """A request with one message of the user, for at most 16 tokens."""
    return Request((Message("user", text),), **{"max_tokens": 16, **fields})


def judge(criterion: str = "clear", paper: str = ABSTRACT, **fields: Any) -> Request:
    """A request for one digit with its alternatives, as the panel of /curate makes them."""
    asked = f"{paper}\n\nFrom 1 to 5, how {criterion} is this abstract? Answer with one digit."
    messages = (Message("system", "You judge abstracts."), Message("user", asked))
    wanted = {"max_tokens": 1, "prefill": "Rating: ", "top_logprobs": 100, "slot": 0}
    return Request(messages, **{**wanted, **fields})


@dataclass
class Remote:
    """One kind of server, spoken by a protocol server.

    Attributes:
        chats: the path of chat requests.
    """

    name: str
    server: ProtocolServer
    backend: Backend
    model: str
    path: str
    chats: str
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.server.url}{self.path}"

    def entry(self, model: str | None = None, **fields: Any) -> ServeEntry:
        fields = {"url": self.url, **self.how, **fields}
        return ServeEntry(backend=self.name, model=model or self.model, **fields)

    def load(self) -> Model:
        return self.backend.load(self.entry())

    def sent(self) -> list[Any]:
        """The bodies of the chat requests."""
        return self.server.bodies(self.chats)

    def failure(self, how: str, request: Request) -> HarnessError:
        """Return the error of a generation while the server fails in that way."""
        model = self.load()
        self.server.fail(how)
        with pytest.raises(HarnessError) as caught:
            model.generate(request)
        return caught.value


def remote_of(name: str, server: ProtocolServer) -> Remote:
    if name == "ollama":
        how = {"context": 2048}
        return Remote(name, server, OllamaBackend(), "smollm2", "", "/api/chat", how)
    chats = "/v1/chat/completions"
    return Remote(name, server, OpenAIBackend(), "smollm2:latest", "/v1", chats)
