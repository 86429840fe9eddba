"""Counting tokens: those of a run, and an estimate where no tokenizer is known."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field

from harness.models.backends.base import Reply, Request

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


def estimated_tokens(request: Request) -> int:
    """Return the tokens of a request, rather too many than too few."""
    parts = [f"{t.name}{t.description}{json.dumps(dict(t.parameters))}" for t in request.tools]
    for message in request.conversation:
        parts += [message.content, *(c.name + c.arguments for c in message.tool_calls)]
    return -(-sum(len(part.encode()) for part in parts) // BYTES_PER_TOKEN)
