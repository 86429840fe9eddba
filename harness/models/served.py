"""Use a loaded model: requests, token counts, and detection of loops in answers.

Small models may repeat the same text up to the token limit. An answer loops if its end repeats a
text at least `REPEATS` times. Lists and tables also repeat lines, so a loop has at least `LEAST`
characters. A loop without letters, such as a ruler or a row of zeros, has at least
`LEAST_WITHOUT_LETTERS` characters.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, LoopingReply
from harness.models.backend import Model, OnText, Reply, Request
from harness.support import traces

if TYPE_CHECKING:
    from harness.models.pool import Resolution
    from harness.models.registry import ModelEntry

BYTES_PER_TOKEN = 3
"""Assumed number of bytes per token. A token of prose has more bytes on average, so that the number
of tokens of prose is overestimated.
"""
REPEATS = 3
LEAST = 240
LEAST_WITHOUT_LETTERS = 2000
WINDOW = 6000
"""Number of characters at the end of a text that are searched for a loop."""
TAIL = LEAST // REPEATS
SHOWN = 60
ANSWER_TOKENS = 1024


@dataclass(slots=True)
class Usage:
    """The sums of tokens and seconds over all generations of a run.

    If two generations run concurrently, the seconds of both are counted.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    generations: int = 0
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, reply: Reply) -> None:
        """Add the tokens and seconds of a reply; several threads may call the method."""
        with self._lock:
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens
            self.generations += 1
            self.seconds += reply.seconds

    def since(self, before: Usage) -> Usage:
        """Return the sums over the generations after `before`, an earlier copy of this object."""
        return Usage(
            self.prompt_tokens - before.prompt_tokens,
            self.completion_tokens - before.completion_tokens,
            self.generations - before.generations,
            self.seconds - before.seconds,
        )


@dataclass(slots=True)
class ServedModel:
    """The loaded model that `Models.run` passes to `work`.

    Attributes:
        resolution: the choice of this model for a task.
        entry: the model's entry in the registry. If the serve entry has a reply format, `form` is
            this format.
        usage: receives the tokens and seconds of each generation.
        cancel: is set when a running generation must end.
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
        """The context in tokens, for prompt and answer together, according to the registry."""
        return self.resolution.chosen.serve.context

    @property
    def takes_grammar(self) -> bool:
        return self.model.takes_grammar

    @property
    def takes_tools(self) -> bool:
        """True if the model accepts `Request.tools`; see `Model.takes_tools`."""
        return getattr(self.model, "takes_tools", False)

    @property
    def tools_refused(self) -> str:
        """The message with which a server refused tools; "" if no request was refused."""
        return str(getattr(self.model, "tools_refused", ""))

    @property
    def continues_prefill(self) -> bool:
        """True unless the model reports that `Request.prefill` is not supported."""
        return getattr(self.model, "continues_prefill", True)

    @property
    def digests(self) -> Mapping[str, str]:
        return self.model.digests

    @property
    def place(self) -> str:
        """The names of the model's files, or the model's name and the server's address.

        If the backend reports neither, the value is `ServeEntry.where`.
        """
        return str(getattr(self.model, "place", "")) or self.resolution.chosen.serve.where

    @property
    def about(self) -> dict[str, Any]:
        """A description of the model for results and records; `label` returns a short form.

        `requested` and `resolved` are model ids. `reason` states why serve entries of the requested
        model were skipped, or is None if the model's first entry serves. `digests` has the digests
        that the backend reports, by role.
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
        """Generate and return a reply, and add its tokens and seconds to `usage`.

        Raises:
            LoopingReply: the model repeats the same text.
            Errors of `backend.Model.generate`.
        """
        with traces.generation(self, request) as traced:
            reply = self.model.generate(request, LoopDetector(on_text).add, self.cancel)
            traced.replied(reply)
        self.usage.add(reply)
        return reply

    def check_fits(self, request: Request) -> None:
        """Check that the prompt and the answer of a request fit into the context of the model.

        If the model cannot count the tokens of the prompt, their number is estimated with
        `BYTES_PER_TOKEN`. If the context is unknown, every request is accepted. The check is
        needed, since some servers silently truncate a prompt that does not fit.

        Raises:
            InputError: the prompt and the answer do not fit.
            SkillFailed, GenerationFailed: raised by `backend.Model.count_tokens`.
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
        """Return a request with the given fields; the registry's `options` are the defaults."""
        return Request(**{**self.entry.options.model_dump(exclude_none=True), **fields})


def label(about: Mapping[str, Any]) -> str:
    """Return "model · backend · place · digest" for `ServedModel.about` or a provenance.

    The digest is shortened to 8 characters. If the model has several files, the label contains the
    digest of the merged file, or else the digest of the adapter.
    """
    place = about.get("place") or about["where"]  # records of earlier versions have no place
    digest = "".join([*about["digests"].values()][-1:])[:8]
    return " · ".join(filter(None, (about["resolved"], about["backend"], place, digest)))


def _estimated_tokens(request: Request) -> int:
    parts = [f"{t.name}{t.description}{json.dumps(dict(t.parameters))}" for t in request.tools]
    for message in request.conversation:
        parts += [message.content, *(c.name + c.arguments for c in message.tool_calls)]
    return -(-sum(len(part.encode()) for part in parts) // BYTES_PER_TOKEN)


def repeated_unit(text: str) -> str:
    """Return the text that the end of `text` repeats, or "" if `text` does not loop."""
    tail = text[-TAIL:]
    before = text.rfind(tail, 0, -1)  # in a loop, the tail also occurs one unit earlier
    if len(text) < LEAST or before < 0:
        return ""
    unit = text[before + len(tail) :]
    has_letters = any(map(str.isalpha, unit))
    size = max(LEAST if has_letters else LEAST_WITHOUT_LETTERS, REPEATS * len(unit))
    end = text[-size:]
    return unit if len(end) == size and end.startswith(end[len(unit) :]) else ""


class LoopDetector:
    """Passes the text of an answer to `on_text`, and raises an error if the text loops.

    Args:
        on_text: called with each piece of text.
    """

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._pieces: list[str] = []
        self._recent = ""

    def add(self, piece: str) -> None:
        """Add the next piece of text.

        Raises:
            LoopingReply: the answer loops.
        """
        if self._on_text is not None:
            self._on_text(piece)
        self._pieces.append(piece)
        for start in range(0, len(piece), TAIL):  # a server may send a whole answer as one piece
            self._recent = (self._recent + piece[start : start + TAIL])[-WINDOW:]
            if unit := repeated_unit(self._recent):
                unit = " ".join(unit.split())
                shown = unit if len(unit) <= SHOWN else f"{unit[:SHOWN]}..."
                raise LoopingReply(
                    f"the model repeats itself ({shown!r}) and was stopped",
                    hint="Rephrase the text, or use a larger model: `/models` lists all models.",
                    partial="".join(self._pieces),
                )
