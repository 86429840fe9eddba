"""What the backends for servers share: closing connections, and errors by status."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import (
    DeadlineExceeded,
    GenerationFailed,
    HarnessError,
    ModelBusy,
    ModelUnavailable,
    SkillFailed,
)
from harness.support.calls import retry_after

if TYPE_CHECKING:
    from harness.models.backend import Tool

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
"""Time limit of a probe, for the connection and again for the answer."""
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A silent server is probed after 15 s; if its machine is gone, the connection ends after 30 s. The
system's default is two hours, so a generation would wait for its deadline."""


class NotServed(ModelUnavailable):
    """The server answers, but has no such model, or another model of that name."""


def is_local(address: str) -> bool:
    """Return True for an address of this machine, which is reached without a proxy."""
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
    """Return an address without a user name and password, for messages and records."""
    scheme, separator, rest = address.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


class ConnectionHandle:
    """Closes the connection of an HTTP client from another thread.

    Closing a client or its socket does not wake a thread that reads from it; a shutdown does.
    """

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the server has ever accepted the connection."""
        return bool(self._streams)

    @property
    def hooks(self) -> Mapping[str, list[Callable[[Any], None]]]:
        """The `event_hooks` for the httpx client."""
        return {"request": [lambda request: request.extensions.update(trace=self._on_event)]}

    def close(self) -> None:
        """Shut down the present connection and any later one."""
        import socket

        self._closed = True
        for stream in list(self._streams):
            with contextlib.suppress(OSError):  # already closed, or detached for TLS
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _on_event(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            import socket

            connection = info["return_value"].get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):  # not on every system
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._streams.append(info["return_value"])
            if self._closed:
                self.close()


def as_tool(tool: Tool) -> dict[str, Any]:
    """Return the JSON form of a tool, in OpenAI's protocol and Ollama's."""
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": dict(tool.parameters)}}


def status_error(status: int, message: str, server: str, after: str | None = None) -> HarnessError:
    """Return the error for an HTTP status of 400 or more.

    Args:
        after: the header Retry-After.
    """
    text, wait = f"{server} answers {status}: {message}", retry_after(after) or 0.0
    if status in (429, 503):
        hint = "Its queue is full: try again in a moment."
        return ModelBusy(text, hint=hint, wait=wait)
    if status in (408, 502, 504):  # usually from a proxy in front of the server
        return ModelBusy(text, hint="Try again in a moment.", wait=wait)
    if status in (400, 413, 422):
        return SkillFailed(
            text, hint="The server does not accept this request; a retry will not help."
        )
    return ModelUnavailable(text, hint="See the server's own log.")


def connection_error(
    server: str, handle: ConnectionHandle, hint: str, *, began: bool, timed_out: bool
) -> HarnessError:
    """Return the error for a connection that failed, was closed, or timed out.

    Args:
        hint: how to start the server.
        began: part of the answer had arrived.
        timed_out: at the deadline. Before it, a time-out means that the machine is gone.
    """
    if timed_out and handle.connected:
        return DeadlineExceeded(
            f"{server} stopped responding", hint="Allow it more time, or use a smaller model."
        )
    if not began:
        return ModelUnavailable(f"{server} cannot be reached", hint=hint)
    return stream_error(server)


def stream_error(
    server: str, message: str = "the connection was closed", partial: str = ""
) -> GenerationFailed:
    """Return the error for an answer that began and did not end properly."""
    return GenerationFailed(
        f"{server} interrupted its answer: {message}",
        partial=partial,
        hint="Run it again; if that fails too, see the server's own log.",
    )
