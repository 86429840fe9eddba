"""Serve entries with several `urls`: one model whose requests are shared among equal servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.errors import ModelUnavailable
from harness.models.backends.base import Availability, Backend, Model, OnText, Reply, Request
from harness.models.backends.remote import shown_address
from harness.models.servers.server_group import Server, ServerGroup

if TYPE_CHECKING:
    from harness.models.schema import ServeEntry

SHOWN = 3
"""Maximum number of addresses in `Balanced.place`, which each annotation stores."""


class BalancedBackend:
    """A backend for single servers that also takes entries with several `urls`."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend

    def probe(self, entry: ServeEntry) -> Availability:
        if not entry.urls:
            return self._backend.probe(entry)
        try:
            return Availability(True, self._group(entry, 1).state)
        except ModelUnavailable as exc:
            return Availability(False, exc.message)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        if not entry.urls:
            return self._backend.load(entry, slots)
        return Balanced(entry, self._group(entry, slots), slots)

    def _group(self, entry: ServeEntry, slots: int | None) -> ServerGroup:
        def load(url: str) -> Model:
            return self._backend.load(entry.model_copy(update={"url": url, "urls": ()}), slots)

        return ServerGroup(str(entry.model), [Server(url, load) for url in entry.urls])


class Balanced:
    """A model on the servers of a group.

    Args:
        slots: number of concurrent generations; None for those of all servers together, also of
            servers that are left out, since they may come back.
    """

    def __init__(self, entry: ServeEntry, group: ServerGroup, slots: int | None = None) -> None:
        self._group = group
        self.takes_grammar = group.first.takes_grammar
        self.digests: Mapping[str, str] = group.digests
        self.slots = slots or group.first.slots * len(entry.urls)
        addresses = [shown_address(url) for url in entry.urls]
        more = f" and {len(addresses) - SHOWN} more" * (len(addresses) > SHOWN)
        self.place = f"{entry.model} at {', '.join(addresses[:SHOWN])}{more}"

    @property
    def context(self) -> int | None:
        return self._group.first.context

    @property
    def takes_tools(self) -> bool:
        return self._group.first.takes_tools and not self.tools_refused

    @property
    def tools_refused(self) -> str:
        """The message of a server that refused tools: equal servers refuse them, too."""
        refused = (getattr(model, "tools_refused", "") for model in self._group.models)
        return next(filter(None, refused), "")

    @property
    def continues_prefill(self) -> bool:
        return self._group.use(lambda model: getattr(model, "continues_prefill", True))

    def report_to(self, notice: Callable[[str], None]) -> None:
        """Report servers that are left out, or serve again, to `notice` from now on."""
        self._group.report_to(notice)

    def count_tokens(self, request: Request) -> int | None:
        return self._group.use(lambda model: model.count_tokens(request))

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate on the server with the least work; see `base.Model.generate`.

        A server that fails before its answer begins is replaced by another one. If it fails within
        its answer, the error is raised, since `on_text` has received text; it is retryable.

        Raises:
            ModelUnavailable: no server is left.
            ModelBusy: all servers that are left are busy.
        """
        return self._group.use(lambda model: model.generate(request, on_text, cancel))

    def close(self) -> None:
        """Free the models of all servers."""
        for model in self._group.models:
            model.close()
