"""What the backends that talk to a server share: cutting a connection, remembering, classifying."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from ipaddress import ip_address
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from harness.errors import (
    DeadlineExceeded,
    GenerationFailed,
    HarnessError,
    ModelBusy,
    ModelUnavailable,
    SkillFailed,
)

T = TypeVar("T")

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
"""Each for the connection and for the answer, so that a probe ends within two seconds."""


def is_local(address: str) -> bool:
    """Whether an address, with or without a scheme, is one of this machine: no proxy of the
    environment leads there."""

    parts = urlsplit(address if "://" in address else f"//{address}")
    host = parts.hostname or "localhost"
    try:
        known = ip_address(host)
    except ValueError:
        return host == "localhost"
    return known.is_loopback or known.is_unspecified


class Plug:
    """Cuts the connection of an HTTP client from another thread.

    Closing a client or its socket does not wake a thread that reads from it; a shutdown does.
    """

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self._pulled = False

    @property
    def connected(self) -> bool:
        """Whether the server has ever taken the connection."""
        return bool(self._streams)

    @property
    def hooks(self) -> Mapping[str, list[Callable[[Any], None]]]:
        """The `event_hooks` of the client, which is one of httpx or of its successor httpx2."""
        return {"request": [self._on_request]}

    def pull(self) -> None:
        """Cut what is connected, and what will be."""
        self._pulled = True
        for stream in list(self._streams):
            # Already closed, or detached because TLS was laid over it.
            with contextlib.suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _on_request(self, request: Any) -> None:
        request.extensions["trace"] = self._on_event

    def _on_event(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._streams.append(info["return_value"])
            if self._pulled:
                self.pull()


class Unrepeated:
    """Takes a prefill off the beginning of an answer that repeats it, as the pieces come.

    llama-server did so once, and a server that does not go on from a prefill begins anew, often
    with the same words.
    """

    def __init__(self, prefill: str) -> None:
        self._prefill = prefill
        self._held = ""

    def take(self, piece: str) -> str:
        """What of the text so far can be handed on."""
        if not self._prefill:
            return piece
        self._held += piece
        if len(self._held) < len(self._prefill) and self._prefill.startswith(self._held):
            return ""
        prefill, self._prefill = self._prefill, ""
        return self.rest().removeprefix(prefill)

    def rest(self) -> str:
        """What was held back when the answer ended."""
        held, self._held = self._held, ""
        return held


class Recent(Generic[T]):
    """What servers said a moment ago, refusals included: probing ten models asks a server once."""

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._known: dict[Hashable, tuple[float, T | ModelUnavailable]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, ask: Callable[[], T]) -> T:
        """Return `ask()`, or what it returned or raised for `key` within the last seconds.

        Raises:
            ModelUnavailable: `ask` raised it.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or time.monotonic() - known[0] > self._seconds:
                outcome = _outcome(ask)  # first: a slow answer is as new as any
                known = self._known[key] = (time.monotonic(), outcome)
        if isinstance(known[1], ModelUnavailable):
            raise known[1]
        return known[1]


def _outcome(ask: Callable[[], T]) -> T | ModelUnavailable:
    try:
        return ask()
    except ModelUnavailable as exc:
        return exc


def refusal(status: int, message: str, server: str, retry_after: str | None = None) -> HarnessError:
    """The error for an HTTP status, 400 or more, that `server` gave instead of an answer.

    Args:
        retry_after: its header of that name.
    """
    said = f"{server} answers {status}: {message}"
    if status in (429, 503):
        hint = "Its queue is full: try again in a moment."
        return ModelBusy(said, hint=hint, wait=_seconds(retry_after))
    if status in (408, 502, 504):  # of what stands before the server, most often
        return ModelBusy(said, hint="Try again in a moment.", wait=_seconds(retry_after))
    if status in (400, 413, 422):
        return SkillFailed(
            said, hint="The server does not take this request; asking again will not help."
        )
    return ModelUnavailable(said, hint="The server's own log says more.")


def _seconds(retry_after: str | None) -> float:
    """Seconds to wait. A date, which the header may also hold, counts as none: our own waits will
    do."""
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def connection_lost(
    server: str, *, plug: Plug, began: bool, timed_out: bool, start: str
) -> HarnessError:
    """The error for a connection that could not be made, was cut, or fell silent.

    Args:
        began: whether any of the answer had come.
        start: what to do where there is no server.
    """
    if timed_out and plug.connected:
        return DeadlineExceeded(
            f"{server} fell silent", hint="Allow it more time, or use a smaller model."
        )
    if not began:
        return ModelUnavailable(f"{server} cannot be reached", hint=start)
    return broken_off(server)


def broken_off(server: str, message: str = "the connection was cut") -> GenerationFailed:
    """The error for an answer that began and has no proper end."""
    return GenerationFailed(
        f"{server} broke off its answer: {message}",
        hint="Run it again; if that fails too, the server's own log says more.",
    )
