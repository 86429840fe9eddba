"""Access to an Ollama server for the stage `ollama`, through Ollama's Python client.

The public methods of the client upload a file even if the server has it, report no progress, cannot
query the version of the server, and cannot render a prompt without generating an answer. For these
purposes the class `Ollama` sends its own requests over the connection of the client. Ollama's
docs/api.md and server/*.go define the protocol; docs/ollama.md lists the tested versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from harness.errors import ModelUnavailable, NothingFound, UsageError
from harness.models.backends.ollama_server import (
    full_name,
    host_of,
    open_client,
    translated_errors,
)
from harness.models.backends.remote import CONNECT_SECONDS, ConnectionHandle, stream_error

LONG_SECONDS = 1800.0
"""Read timeout in seconds: a server may be silent while it quantizes, checks or loads a file."""
CHUNK = 1 << 20


def parse_version(version: str) -> tuple[int, int, int] | None:
    """Return the numbers of a version such as "0.34.1"; None for "0.0.0" or an unknown format.

    A server that was built from source has the version "0.0.0".
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    numbers = (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
    return numbers if any(numbers) else None


class Ollama:
    """A connection to an Ollama server, as a context manager.

    Args:
        host: an address in the format of OLLAMA_HOST, such as "http://127.0.0.1:11434",
            "127.0.0.1" or ":11434"; None for the address in OLLAMA_HOST, or else the default
            address.

    Raises:
        UsageError: `host` is not an address.
    """

    def __init__(self, host: str | None) -> None:
        handle = ConnectionHandle()
        try:
            self._client: Any = open_client(host_of(host).strip(), LONG_SECONDS, handle)
        except ModelUnavailable as exc:
            raise UsageError(exc.message, hint=exc.hint) from exc
        self.host = str(self._client._client.base_url).rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()

    def version(self) -> str:
        """Return the server's version, such as "0.33.0".

        Raises:
            ModelUnavailable: no server answers, or the server is not Ollama.
        """
        with translated_errors(self.host):
            return str(
                self._request("GET", "/api/version", timeout=CONNECT_SECONDS).json()["version"]
            )

    def digest(self, model: str) -> str | None:
        """Return the digest of a model, or None if the server does not have the model."""
        with translated_errors(self.host):
            models = self._client.list().models
        return next((one.digest for one in models if one.model == full_name(model)), None)

    def has_blob(self, sha256: str) -> bool:
        """Return True if the server has a file with this SHA-256."""
        try:
            self._request("HEAD", f"/api/blobs/sha256:{sha256}")
        except NothingFound:
            return False
        return True

    def send_blob(self, path: Path, sha256: str, sent: Callable[[int], None]) -> None:
        """Send a file, reading it once; call `sent` with the number of bytes sent so far."""
        self._request(
            "POST",
            f"/api/blobs/sha256:{sha256}",
            content=_chunks(path, sent),
            headers={"Content-Length": str(path.stat().st_size)},
        )

    def create(self, request: dict[str, Any]) -> Iterator[str]:
        """Create a model, and yield each status, such as "quantizing ... 40%".

        Args:
            request: the body of /api/create, without `stream`.

        Raises:
            SkillFailed: the server cannot create the model; the message comes from the server.
            GenerationFailed: the answer of the server is incomplete.
        """
        last = "nothing"
        settings = {"from_" if name == "from" else name: each for name, each in request.items()}
        with translated_errors(self.host):
            for line in self._client.create(**settings, stream=True):
                last = line.status or last
                share = f" {100 * (line.completed or 0) // line.total}%" if line.total else ""
                yield f"{last}{share}"
        if last != "success":
            ended = f"its last status was {last!r} instead of 'success'"
            raise stream_error(f"Ollama at {self.host}", ended)

    def delete(self, model: str) -> None:
        """Remove a model from the server.

        Raises:
            NothingFound: the server does not have the model.
        """
        with translated_errors(self.host):
            self._client.delete(model)

    def show(self, model: str) -> Mapping[str, Any]:
        """Return the answer of /api/show: `details`, `parameters` (text), `template`, `system`.

        Raises:
            NothingFound: the server does not have the model.
        """
        return self._json("/api/show", json={"model": model})

    def render(self, model: str, messages: Sequence[Mapping[str, str]]) -> str | None:
        """Return the prompt that the server builds; None for servers older than 0.11.5."""
        body = {"model": model, "messages": list(messages), "stream": False, "think": False}
        body |= {"_debug_render_only": True, "options": {"num_predict": 1}}
        return (self._json("/api/chat", json=body).get("_debug_info") or {}).get(
            "rendered_template"
        )

    def chat(self, model: str, messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
        """Generate an answer with the model's parameters; return the text and the done_reason."""
        with translated_errors(self.host):
            found = self._client.chat(model, list(messages), think=False)
        return found.message.content or "", found.done_reason or ""

    def _json(self, path: str, **request: Any) -> dict[str, Any]:
        with translated_errors(self.host):
            return dict(self._request("POST", path, **request).json())

    def _request(self, method: str, path: str, **request: Any) -> Any:
        with translated_errors(self.host):
            return self._client._request_raw(method, path, **request)


def _chunks(path: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    total = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
            total += len(chunk)
            sent(total)
