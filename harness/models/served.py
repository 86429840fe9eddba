"""A loaded model as `work` receives it: requests, token counts, and what is reported of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.models.backends.base import Model, OnText, Reply, Request
from harness.models.repetition import LoopDetector
from harness.models.resolution import Resolution

if TYPE_CHECKING:
    from harness.models.schema import ModelEntry

BYTES_PER_TOKEN = 3
"""Bytes per token of an estimate that is rather too high: prose has more bytes per token."""


@dataclass(slots=True)
class Usage:
    """The tokens and seconds of all generations of a run; concurrent ones are added up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    generations: int = 0
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, reply: Reply) -> None:
        """Add a reply; thread-safe."""
        with self._lock:
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens
            self.generations += 1
            self.seconds += reply.seconds

    def since(self, before: Usage) -> Usage:
        """Return what was used after `before`, an earlier copy."""
        return Usage(
            self.prompt_tokens - before.prompt_tokens,
            self.completion_tokens - before.completion_tokens,
            self.generations - before.generations,
            self.seconds - before.seconds,
        )


@dataclass(slots=True)
class ServedModel:
    """A loaded model and why it was chosen; the argument of `work`.

    Attributes:
        slots: the number of generations that `work` should run concurrently, in threads.
    """

    resolution: Resolution
    entry: ModelEntry
    model: Model
    usage: Usage
    cancel: threading.Event | None = None
    slots: int = 1

    @property
    def context(self) -> int:
        """The context for prompt and answer together, in tokens, from the registry."""
        return self.resolution.chosen.serve.context

    @property
    def takes_grammar(self) -> bool:
        return self.model.takes_grammar

    @property
    def takes_tools(self) -> bool:
        """Whether the model can call tools; False if its backend does not state it."""
        return getattr(self.model, "takes_tools", False)

    @property
    def tools_refused(self) -> str:
        """The message of a server that refused tools, or ""."""
        return str(getattr(self.model, "tools_refused", ""))

    @property
    def continues_prefill(self) -> bool:
        """Whether `Request.prefill` is supported; True if the backend does not state it."""
        return getattr(self.model, "continues_prefill", True)

    @property
    def digests(self) -> Mapping[str, str]:
        return self.model.digests

    @property
    def place(self) -> str:
        """The files or the server's address; the registry's name if the backend states neither."""
        return str(getattr(self.model, "place", "")) or self.resolution.chosen.serve.where

    @property
    def about(self) -> dict[str, Any]:
        """What results and records state about the model; `label` shows it in one line.

        requested and resolved are model ids. reason states why an earlier place of the requested
        model does not serve, else it is null. digests are those of the model's files.
        """
        resolution, serve = self.resolution, self.resolution.chosen.serve
        return {
            "requested": resolution.requested,
            "resolved": resolution.resolved,
            "reason": resolution.reason or None,
            "backend": serve.backend,
            "where": serve.where,
            "place": self.place,
            "digests": dict(self.digests),
        }

    def generate(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Generate and count tokens.

        Raises:
            LoopingReply: the model repeats the same text.
            Errors of `backends.base.Model.generate`.
        """
        reply = self.model.generate(request, LoopDetector(on_text).add, self.cancel)
        self.usage.add(reply)
        return reply

    def check_fits(self, request: Request) -> None:
        """Refuse a request whose prompt and answer do not fit into the model's context.

        The prompt is counted if the model can, else estimated with `BYTES_PER_TOKEN`. If the
        context is unknown, nothing is refused. Servers may silently truncate a longer prompt.

        Raises:
            InputError: it does not fit.
            SkillFailed, GenerationFailed: raised by `backends.base.Model.count_tokens`.
        """
        context = self.model.context
        if context is None:
            return
        counted = self.model.count_tokens(request)
        tokens = _estimated_tokens(request) if counted is None else counted
        if tokens + request.max_tokens > context:
            about = "about " if counted is None else ""
            raise InputError(
                f"the prompt has {about}{tokens} tokens and leaves no room for an answer of "
                f"{request.max_tokens} in the model's context of {context}",
                hint="Shorten the input, or raise `context` of the model in the registry.",
            )

    def request(self, **fields: Any) -> Request:
        """Return a request with these fields and the model's default options."""
        return Request(**{**self.entry.options.model_dump(exclude_none=True), **fields})


def label(about: Mapping[str, Any]) -> str:
    """Return "model · backend · place · digest", from `ServedModel.about` or a provenance.

    The digest is that of the file that identifies the model best: merged or of the reader, else
    adapter, else base.
    """
    place = about.get("place") or about["where"]  # records of earlier versions have no place
    digest = "".join([*about["digests"].values()][-1:])[:8]
    return " · ".join(filter(None, (about["resolved"], about["backend"], place, digest)))


def _estimated_tokens(request: Request) -> int:
    parts = [f"{t.name}{t.description}{json.dumps(dict(t.parameters))}" for t in request.tools]
    for message in request.conversation:
        parts += [message.content, *(c.name + c.arguments for c in message.tool_calls)]
    return -(-sum(len(part.encode()) for part in parts) // BYTES_PER_TOKEN)
