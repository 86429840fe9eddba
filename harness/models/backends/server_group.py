"""Distribute the requests for a model among the equal servers in the `urls` of its entry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.errors import (
    GenerationFailed,
    HarnessError,
    ModelBusy,
    ModelChanged,
    ModelError,
    ModelUnavailable,
)
from harness.models.backend import Availability, Backend, Model, OnText, Reply, Request
from harness.models.backends.remote import NotServed, shown_address

if TYPE_CHECKING:
    from harness.models.registry import ServeEntry

T = TypeVar("T")

PAUSE = 10.0
"""Seconds after which a server that is left out is tried again."""
CONNECTIONS = 32
"""Maximum number of servers to which connections are opened at the same time."""
SHOWN = 3
"""Maximum number of addresses in `Balanced.place`, which each annotation stores."""


class BalancedBackend:
    """A backend for entries with `urls`, which uses `backend` for each of the servers."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend

    def probe(self, entry: ServeEntry) -> Availability:
        try:
            return Availability(True, self.load(entry).state)
        except ModelUnavailable as exc:
            return Availability(False, exc.message)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Balanced:
        return Balanced(entry, self._backend, slots)


@dataclass(slots=True, eq=False)
class Server:
    """A server of a group of equal servers.

    Attributes:
        model: the model of the last successful connection; None without a successful connection.
        running: number of running requests.
        turn: the number of the latest request to this server, counted over all servers.
        error: the error because of which the server is left out; None while the server serves.
        again: the time, from `time.monotonic`, at which a server that is left out is tried again.
        reported: True if `notice` was called with the fact that the server is left out.
    """

    url: str
    model: Model | None = None
    running: int = 0
    turn: int = 0
    error: HarnessError | None = None
    again: float = 0.0
    reported: bool = False

    @property
    def address(self) -> str:
        return shown_address(self.url)

    @property
    def found(self) -> str:
        """The address, followed by the error if the server is left out, or else by the digests."""
        if self.error is not None:
            reason = self.error.message
            return reason if self.address in reason else f"{self.address}: {reason}"
        digests = self.model.digests.values() if self.model is not None else ()
        return f"{self.address}: {', '.join(digest[:8] for digest in digests) or 'has it'}"


class Balanced:
    """A model on equal servers; at least one server must serve the model at the beginning.

    Args:
        backend: loads the model of each server.
        slots: number of concurrent generations; None for the slots of one server multiplied by the
            number of servers. Servers that are left out are counted, since they may return.

    Raises:
        NotServed: the servers that answer do not all serve the same model.
        ModelUnavailable: no server can be reached, or no reachable server has the model.
    """

    def __init__(self, entry: ServeEntry, backend: Backend, slots: int | None = None) -> None:
        self._name, self._entry, self._backend = entry.model, entry, backend
        self._slots = slots
        self._servers = [Server(url) for url in entry.urls]
        self._notice: Callable[[str], None] | None = None
        self._lock = threading.Lock()
        self._connected = False
        with ThreadPoolExecutor(min(len(self._servers), CONNECTIONS)) as executor:
            list(executor.map(self._connect, self._servers))
        if not self._models:
            raise self._none_left()
        first = self._models[0]
        if any(isinstance(server.error, NotServed) for server in self._servers) or any(
            model.digests != first.digests for model in self._models
        ):
            raise NotServed(
                f"the servers do not serve the same model {self._name}: {self._found}",
                hint="Install the same model on all servers, or remove servers from `urls`.",
            )
        self.takes_grammar = first.takes_grammar
        self.digests: Mapping[str, str] = first.digests
        self._connected = True
        self.slots = slots or first.slots * len(self._servers)
        addresses = ", ".join(server.address for server in self._servers[:SHOWN])
        more = len(self._servers) - SHOWN
        self.place = f"{self._name} at {addresses}" + f" and {more} more" * (more > 0)

    @property
    def _models(self) -> list[Model]:
        """The models of all servers that have been reached; models of serving servers first."""
        servers = sorted(self._servers, key=lambda server: server.error is not None)
        return [server.model for server in servers if server.model is not None]

    @property
    def state(self) -> str:
        """The number of serving servers, and the error of each server that is left out.

        For example: "1 of 2 servers; http://b: ...".
        """
        out = [server for server in self._servers if server.error is not None]
        serving = f"{len(self._servers) - len(out)} of " * bool(out)
        return "; ".join([f"{serving}{len(self._servers)} servers", *(s.found for s in out)])

    @property
    def context(self) -> int | None:
        return self._models[0].context

    @property
    def takes_tools(self) -> bool:
        return self._models[0].takes_tools and not self.tools_refused

    @property
    def tools_refused(self) -> str:
        """The message with which a server refused tools, or "" if no server refused tools.

        After a refusal, tools are offered to no server, since the servers are equal.
        """
        refused = (getattr(model, "tools_refused", "") for model in self._models)
        return next(filter(None, refused), "")

    @property
    def continues_prefill(self) -> bool:
        return self._use(lambda model: getattr(model, "continues_prefill", True))

    def report_to(self, notice: Callable[[str], None]) -> None:
        """Register `notice`, which is called with a line if a server is left out or serves again.

        A change that has not been reported yet is reported immediately.
        """
        self._notice = notice
        for server in self._servers:
            self._report(server)

    def count_tokens(self, request: Request) -> int | None:
        return self._use(lambda model: model.count_tokens(request))

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate a reply on the server with the least work (see `backend.Model.generate`).

        If a server cannot serve the model, is busy, or has replaced the model, another server
        generates the reply. If an answer breaks off, the error is raised, since `on_text` may have
        received text.

        Raises:
            ModelUnavailable: all servers have failed.
            ModelBusy: all remaining servers are busy.
        """
        return self._use(lambda model: model.generate(request, on_text, cancel))

    def close(self) -> None:
        """Free the models of all servers."""
        for model in self._models:
            model.close()

    # Choosing the next server

    def _use(self, work: Callable[[Model], T]) -> T:
        """Return `work(model)` with the model of the first server on which `work` succeeds."""
        failed: dict[Server, ModelError] = {}
        while (server := self._next(failed)) is not None:
            assert server.model is not None
            try:
                result = work(server.model)
                self._report(server)
                return result
            except (ModelUnavailable, ModelChanged) as exc:
                failed[server] = exc
                self._leave_out(server, exc)
            except ModelBusy as exc:
                failed[server] = exc
            except GenerationFailed as exc:
                if exc.retryable:
                    self._leave_out(server, exc)
                raise  # the request is not repeated, since `on_text` may have received text
            finally:
                with self._lock:
                    server.running -= 1
        busy = [error for error in failed.values() if isinstance(error, ModelBusy)]
        raise min(busy, key=lambda error: error.wait) if busy else self._none_left()

    def _next(self, failed: Container[Server]) -> Server | None:
        """Return the server with the least work, or None if every server has failed.

        The request is counted as running on the returned server. If no server serves, servers that
        are left out are tried even before their pause is over.

        Args:
            failed: the servers that have failed for this request.
        """
        now = time.monotonic()
        with self._lock:
            due = next((s for s in self._servers if s.error is not None and s.again <= now), None)
            if due is not None:
                due.again = now + PAUSE  # so that only one request at a time tries the server
        if due is not None:
            self._connect(due)
        if (server := self._least_work(failed)) is not None:
            return server
        for out in self._servers:
            if out in failed or not self._connect(out):
                continue
            # Another request may leave the server out again before this request chooses it.
            if (server := self._least_work(failed)) is not None:
                return server
        return None

    def _least_work(self, failed: Container[Server]) -> Server | None:
        """Return the least busy serving server that is not in `failed`, or None.

        Among servers with equally many running requests, the server that was used least recently is
        returned. The request is counted as running on the returned server.
        """
        with self._lock:
            serving = [s for s in self._servers if s.error is None and s not in failed]
            if not serving:
                return None
            server = min(serving, key=lambda s: (s.running, s.turn))
            server.running += 1
            server.turn = 1 + max(s.turn for s in self._servers)
        return server

    # Leaving servers out, and using them again

    def _connect(self, server: Server) -> bool:
        """Load the model of a server and return True, or leave the server out and return False."""
        try:
            entry = self._entry.model_copy(update={"url": server.url, "urls": ()})
            model = self._backend.load(entry, self._slots)
        except ModelUnavailable as exc:
            self._leave_out(server, exc)
            return False
        if self._connected and model.digests != self.digests:
            self._leave_out(server, NotServed(f"{server.address} has another model now"))
            return False
        with self._lock:
            server.model, server.error = model, None
        return True

    def _leave_out(self, server: Server, error: HarnessError) -> None:
        with self._lock:
            if isinstance(error, NotServed) and not isinstance(server.error, NotServed):
                # The user must act on NotServed, so it is reported even after another error.
                server.reported = False
            server.error, server.again = error, time.monotonic() + PAUSE
        self._report(server)

    def _report(self, server: Server) -> None:
        """Report that a server is left out or serves again, if this has not been reported yet."""
        if self._notice is None:
            return
        with self._lock:
            error, known = server.error, server.reported
            server.reported = error is not None
        if error is not None and not known:
            self._notice(f"server left out: {server.found}")
        elif error is None and known:
            self._notice(f"server serves again: {server.address}")

    def _none_left(self) -> ModelUnavailable:
        return ModelUnavailable(
            f"no server serves {self._name}: {self._found}", hint="Start one of the servers."
        )

    @property
    def _found(self) -> str:
        return "; ".join(server.found for server in self._servers)
