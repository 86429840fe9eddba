"""The state of a running generation in a backend: deadline, cancellation, and text so far."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import DeadlineExceeded
from harness.models.backends.base import FinishReason, OnText, Reply, Request, Token, ToolCall
from harness.support.stop_token import StopToken


@dataclass(slots=True)
class Watch:
    """Deadline, cancellation and collected text of one running generation."""

    request: Request
    cancel: threading.Event | None = None
    on_text: OnText | None = None
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, float]] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    _stop: StopToken = field(init=False)

    def __post_init__(self) -> None:
        self._stop = StopToken(self.cancel, self.request.deadline)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def seconds(self) -> float:
        return self._stop.elapsed

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; not negative."""
        return self._stop.remaining

    def add(self, text: str) -> None:
        """Take the next piece of text and hand it on."""
        if text:
            self.pieces.append(text)
            if self.on_text:
                self.on_text(text)

    def tell(self, token: Token, alternatives: Iterable[tuple[str, float]]) -> None:
        """Take the next token and its alternatives: texts with their logarithm of probability.

        Alternatives of the same text count together; without any, the token alone is told.
        """
        self.tokens.append(token)
        told: dict[str, float] = {}
        for text, logprob in alternatives:
            told[text] = _log_add(told[text], logprob) if text in told else logprob
        if told:
            self.logprobs.append(dict(sorted(told.items(), key=lambda item: -item[1])))

    def check(self) -> None:
        """Raise if the deadline has passed or the generation was cancelled."""
        try:
            self._stop.check()
        except DeadlineExceeded as exc:
            exc.partial = self.text
            raise

    def reply(
        self,
        finish_reason: FinishReason,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> Reply:
        """The collected text as a finished completion."""
        return Reply(
            self.text,
            finish_reason,
            prompt_tokens,
            completion_tokens,
            self.seconds,
            cached_tokens,
            tuple(self.logprobs),
            tuple(self.tokens),
            tool_calls,
        )


def token_text(token: str, raw: Sequence[int] | None) -> str:
    """The text of a token that is told as a text and, perhaps, as its bytes.

    llama.cpp cuts a broken character off the text of a token: " " is then also a blank with the
    first byte of an emoji, and only the bytes tell the two apart.
    """
    return bytes(raw).decode("utf-8", "replace") if raw else token


def _log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)), without leaving the range of a float."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
