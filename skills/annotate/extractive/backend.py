"""The selector as a model: it quotes the passages of the moves, and writes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.errors import Interrupted, SkillFailed
from harness.models.backends.base import Availability, OnText, Reply, Request
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.weights import FileStore

if TYPE_CHECKING:
    from harness.models.schema import ServeEntry


class SelectorBackend:
    """The selector, which needs no files but those it was fitted with (`selector.files`).

    Args:
        files: notifies of a download.
    """

    name = "selector"

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def probe(self, entry: ServeEntry) -> Availability:
        """Return whether the engine is installed, and the base is there or can be downloaded."""
        from harness.models.schema import ServeEntry
        from skills.annotate.selector import selector

        base = ServeEntry(backend="llamacpp", gguf=selector.BASE)
        return LlamaCppBackend(selector.files()).probe(base)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> SelectorModel:
        from skills.annotate.selector import selector

        files = selector.files(self._files.notify)
        files.ensure(selector.BASE)
        selector.encoder()
        digests = {"gguf": files.digest(selector.BASE), "selector": selector.load().digest}
        return SelectorModel(digests, slots or entry.slots or 1, files.name(selector.BASE))


class SelectorModel:
    """Answers requests of the form `quotes`. All of them share one engine, which reads in turn."""

    takes_grammar = takes_tools = continues_prefill = False
    context = None

    def __init__(self, digests: Mapping[str, str], slots: int, place: str) -> None:
        self.digests = digests
        self.slots = slots
        self.place = place

    def count_tokens(self, request: Request) -> None:
        """Return None: a text may be of any length (`encoder.CONTEXT`)."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Return the quotes of an abstract; see `base.Model.generate`.

        Nothing is passed to `on_text`, since nothing is generated.
        """
        if cancel is not None and cancel.is_set():
            raise Interrupted("interrupted")
        if any(message.role != "user" for message in request.messages):
            raise SkillFailed(
                "the selector only annotates abstracts",
                hint="Select another model with `--model`. The entry of the selector in the "
                "registry needs `form: quotes`.",
            )
        started = time.perf_counter()
        abstract, *known = (message.content for message in request.messages)
        text, tokens = _quotes(abstract, known)
        return Reply(text, "stop", tokens, 0, time.perf_counter() - started)

    def close(self) -> None:
        """Do nothing: other models of the process use the engine, too."""


def _quotes(abstract: str, known: list[str]) -> tuple[str, int]:
    """Return the reply for an abstract that certainly states some moves, and its tokens."""
    from skills.annotate.extractive.extract import extract
    from skills.annotate.extractive.reading import Reading
    from skills.nanda.forms.quotes import written
    from skills.nanda.framework import nanda

    reading = Reading.of(abstract)
    found = extract(abstract, reading, known)
    spans = {move: anchor["spans"][0] for move, anchor in found.anchors.items()}
    stated = nanda().stated(found.moves)
    return written(stated, spans, found.confidence, found.suggestions), reading.tokens
