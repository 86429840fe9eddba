"""Limit the responses of model servers, and create the errors for failed requests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import (
    DeadlineExceeded,
    GenerationFailed,
    HarnessError,
    ModelBusy,
    ModelChanged,
    ModelUnavailable,
    SkillFailed,
)
from harness.redaction import redact, remember
from harness.support import bounded_http

if TYPE_CHECKING:
    from harness.models.backend import Request, Tool

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
"""Timeout in seconds for the connection of a probe, and for each read of its answer."""
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Socket options: the system checks a silent connection after 15 s, and ends the connection after
30 s if the other machine is unreachable. With the default of two hours, a generation would wait for
its deadline.
"""
PROBE_LIMIT = 5.0
"""Time limit of a whole probe, as a multiple of the timeout of a single read."""
TOKEN_BYTES = 4000
"""Maximum number of bytes per token of an answer, twice the size of a token with 20 alternatives.
"""
LONGEST_ANSWER = 16_000_000
"""Maximum number of bytes of an answer, even if `max_tokens` would allow a longer answer."""


class NotServed(ModelUnavailable):
    """Raised if a server does not have the model, or has another model with the same name."""


class RemoteModel:
    """A model of a server whose protocol neither supports grammars nor counts tokens."""

    takes_grammar = False

    def count_tokens(self, request: Request) -> None:
        """Return None, since the protocol has no endpoint for counting."""

    def close(self) -> None:
        """Do nothing, since the server manages its models."""


def is_local(address: str) -> bool:
    """Return True for a loopback or unspecified address, which needs no proxy."""
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    parts = urlsplit(address if "://" in address else f"//{address}")
    host = parts.hostname or "localhost"
    try:
        known = ip_address(host)
    except ValueError:
        return host == "localhost"
    return known.is_loopback or known.is_unspecified


def shown_address(address: str) -> str:
    """Return an address without user name, password and keys, for messages and records.

    From then on, the secrets of the address are redacted in all output.
    """
    scheme, separator, rest = remember(address, "address").rpartition("://")
    host, slash, path = rest.partition("/")
    return redact(f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}")


def answer_bytes(max_tokens: int) -> int:
    """Return the maximum number of bytes of an answer with at most `max_tokens` tokens."""
    return min(bounded_http.BODY + max_tokens * TOKEN_BYTES, LONGEST_ANSWER)


class ConnectionHandle:
    """Limits the responses of an HTTP client, and can shut down the client's connections.

    Closing a client or its socket does not wake a thread that reads from the socket, but shutting
    down the socket does.

    Args:
        allowed: another host, to which the server may redirect.
        size: maximum number of bytes of the response to a POST request.
        ends: the texts that end a line or an event, if the response is read by lines or events.

    Attributes:
        server: the name of the server, for messages.
        retry_after: the value of the header Retry-After in the last response, or None.
        overdue: True if the time limit of `limited` has passed.
    """

    def __init__(
        self,
        allowed: str | None = None,
        size: int = bounded_http.BODY,
        ends: tuple[bytes, ...] = (),
    ) -> None:
        self.allowed, self._size, self._ends = allowed, size, ends
        self.server = "the server"
        self.retry_after: str | None = None
        self.overdue = False
        self._streams: list[Any] = []
        self._closed = False

    @property
    def connected(self) -> bool:
        """True if the server has accepted the connection."""
        return bool(self._streams)

    @property
    def hooks(self) -> Mapping[str, list[Callable[[Any], None]]]:
        """The `event_hooks` for the httpx client."""
        return {"request": [self._on_request], "response": [self._on_response]}

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Close the connections and set `overdue` if the block takes longer than `seconds`.

        A read timeout does not limit the whole response, since it restarts with each piece.
        """

        def close() -> None:
            self.overdue = True
            self.close()

        timer = threading.Timer(seconds, close)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Shut down all current connections, and each connection that is opened later."""
        import socket

        self._closed = True
        for stream in list(self._streams):
            with contextlib.suppress(OSError):  # the socket is closed, or detached for TLS
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _on_request(self, request: Any) -> None:
        request.extensions.update(trace=self._on_event)
        request.headers.update(bounded_http.IDENTITY)

    def _on_response(self, response: Any) -> None:
        self.retry_after = response.headers.get("retry-after")
        if other := bounded_http.other_host(response, self.allowed):
            raise ModelUnavailable(
                f"{self.server} redirects to {other}, to which nothing was sent",
                hint="Correct the address, or permit the redirect with `allow_redirects_to` in "
                "the registry.",
            )
        meter = bounded_http.Meter(self.server)
        if response.request.method == "POST":  # the answers of other requests are short
            meter = bounded_http.Meter(self.server, self._size, self._ends)
        bounded_http.limit_response(response, meter)

    def _on_event(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            import socket

            connection = info["return_value"].get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):  # not available on every system
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._streams.append(info["return_value"])
            if self._closed:
                self.close()


def as_tool(tool: Tool) -> dict[str, Any]:
    """Return the JSON form of a tool in the protocols of OpenAI and Ollama."""
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": dict(tool.parameters)}}


def changed_error(server: str, name: str, before: str, now: str) -> ModelChanged:
    """Return the error for a model that was replaced during a run."""
    return ModelChanged(
        f"{server} serves another model as {name} since the run began: {now} instead of {before}",
        hint="Finished rows are stored with the first model. Repeat the line to use the new model.",
    )


def status_error(status: int, message: str, server: str, after: str | None = None) -> HarnessError:
    """Return the error for an HTTP status of 400 or more.

    Args:
        after: the value of the header Retry-After.
    """
    message = bounded_http.error_text(message) or "no reason given"
    wait = bounded_http.retry_after(after) or 0.0
    text = f"{server} answers {status}: {message}" + f" (Retry-After {wait:,.0f} s)" * (wait > 0)
    if status in (429, 503):
        hint = "The server's queue is full: try again in a moment."
        return ModelBusy(text, hint=hint, wait=wait)
    if status in (408, 502, 504):  # usually from a proxy in front of the server
        return ModelBusy(text, hint="Try again in a moment.", wait=wait)
    if status in (400, 413, 422):
        return SkillFailed(
            text, hint="The server does not accept this request; a retry will not help."
        )
    return ModelUnavailable(text, hint="See the server's log.")


def connection_error(
    server: str, handle: ConnectionHandle, hint: str, *, began: bool, timed_out: bool
) -> HarnessError:
    """Return the error for a connection that failed, was closed, or timed out.

    Args:
        hint: the advice to start the server, or to correct its address.
        began: True if part of the answer had arrived.
        timed_out: True for a timeout at the deadline. A timeout before the deadline means that the
            machine is unreachable.
    """
    if timed_out and handle.connected:
        return DeadlineExceeded(
            f"{server} stopped responding", hint="Allow more time, or use a smaller model."
        )
    if not began:
        return ModelUnavailable(f"{server} cannot be reached", hint=hint)
    return stream_error(server)


def stream_error(
    server: str, message: Any = "the connection was closed", partial: str = ""
) -> GenerationFailed:
    """Return the error for an answer that began, but did not end properly.

    Args:
        message: the reason, or the message of the server as any JSON value.
        partial: the text of the answer before the error.
    """
    reason = bounded_http.error_text(message)
    return GenerationFailed(
        f"{server} interrupted its answer: {reason}",
        partial=partial,
        hint="Run the line again. If that fails too, see the server's log.",
    )
