"""The state of a running generation: time limit, cancellation, and the reply so far."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import DeadlineExceeded
from harness.models.backends.base import FinishReason, OnText, Reply, Request, Token, ToolCall
from harness.support.stopping.stop_token import StopToken
from harness.support.well_formed import SurrogateJoiner, well_formed, well_formed_json


@dataclass(slots=True)
class GenerationState:
    """The time limit, the cancellation and the collected reply of one generation.

    All text of the reply can be encoded, whatever the server sent (`well_formed`).
    """

    request: Request
    cancel: threading.Event | None = None
    on_text: OnText | None = None
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, float]] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    _stop: StopToken = field(init=False)
    _joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)

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
        """Append a piece of text and pass it to `on_text`."""
        self._append(self._joiner.feed(text))

    def add_token(self, token: Token, alternatives: Iterable[tuple[str, float]]) -> None:
        """Append a token with its alternatives, as pairs of text and log probability.

        The probabilities of alternatives with the same text are added. Without alternatives, only
        the token is kept.
        """
        self.tokens.append(Token(well_formed(token.text), token.logprob))
        by_text: dict[str, float] = {}
        for raw, logprob in alternatives:
            text = well_formed(raw)
            by_text[text] = _log_add(by_text[text], logprob) if text in by_text else logprob
        if by_text:
            self.logprobs.append(dict(sorted(by_text.items(), key=lambda item: -item[1])))

    def drop_tokens(self, text: str) -> None:
        """Drop the first tokens if they spell `text`, which is not part of the reply."""
        if not "".join(token.text for token in self.tokens).startswith(text):
            return
        ends = itertools.accumulate(len(token.text) for token in self.tokens)
        count = sum(end <= len(text) for end in ends)
        del self.tokens[:count], self.logprobs[:count]

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
        """Return the finished completion."""
        self._append(self._joiner.flush())
        return Reply(
            self.text,
            finish_reason,
            prompt_tokens,
            completion_tokens,
            self.seconds,
            cached_tokens,
            tuple(self.logprobs),
            tuple(self.tokens),
            tuple(map(_well_formed_call, tool_calls)),
        )

    def _append(self, text: str) -> None:
        if text:
            self.pieces.append(text)
            if self.on_text:
                self.on_text(text)


def _well_formed_call(call: ToolCall) -> ToolCall:
    return ToolCall(well_formed(call.name), well_formed_json(call.arguments), well_formed(call.id))


def token_text(token: str, raw: Sequence[int] | None) -> str:
    """Return the text of a token, from its bytes where they are given.

    llama.cpp drops an incomplete character from the text of a token, so " " may also stand for a
    blank followed by the first byte of an emoji; only the bytes differ.
    """
    return bytes(raw).decode("utf-8", "replace") if raw else token


def _log_add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b)) without overflow."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
