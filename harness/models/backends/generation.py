"""A running generation: its worker thread, time limit, cancellation, and partial reply.

Neither the C++ engine nor a socket notices Ctrl-C, a deadline or a cancellation while it waits for
the next token. Therefore the generation runs in a worker thread, and the calling thread checks for
these events at intervals of at most `TICK`.
"""

from __future__ import annotations

import codecs
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from harness.errors import DeadlineExceeded, GenerationFailed
from harness.models.backend import FinishReason, OnText, Reply, Request, Token, ToolCall
from harness.redaction import held_back, without_secrets
from harness.support.stop_token import StopToken
from harness.support.text_input import ENCODING, well_formed

T = TypeVar("T")
Emit = Callable[[T], bool]
TICK = 0.05
"""Maximum delay in seconds before a deadline, a cancellation or Ctrl-C is noticed."""
STALLED = 60.0
"""Seconds without progress after which an answer that has begun is aborted."""
JOIN = 1.0
"""Maximum number of seconds to wait for the worker thread to end."""
_END = object()


class PrefillStripper:
    """Removes a repeated prefill from the start of a streamed answer.

    A server that does not continue a prefill begins a new answer, often with the same words.
    """

    def __init__(self, prefill: str) -> None:
        self._prefill = prefill
        self._matched = 0  # number of characters of the prefill that the answer has repeated

    def feed(self, piece: str) -> str:
        """Add the next piece of the answer, and return the text that is not part of the prefill.

        Text that may be part of the prefill is held back until more text has arrived.
        """
        prefill, matched = self._prefill, self._matched
        if not prefill:
            return piece
        if matched + len(piece) < len(prefill) and prefill.startswith(piece, matched):
            self._matched += len(piece)
            return ""
        held, self._prefill = self.flush() + piece, ""
        # A template may have removed the blanks at the end of the prefill.
        return held.removeprefix(prefill if held.startswith(prefill) else prefill.rstrip())

    def flush(self) -> str:
        """Return the text that `feed` has held back; called after the last piece."""
        matched, self._matched = self._matched, 0
        return self._prefill[:matched]


@dataclass(slots=True)
class GenerationState:
    """The time limit, the cancellation and the collected reply of a generation.

    The text of the reply has no lone surrogates (see `well_formed`).

    Args:
        cancel: is set when the generation must end.
        on_text: called with each piece of text.
        repeated: a prefill that the server may repeat; the repetition is removed from the reply.
    """

    request: Request
    cancel: threading.Event | None = None
    on_text: OnText | None = None
    repeated: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, float]] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    _stop: StopToken = field(init=False)
    _progress: float | None = None
    _held: str = ""
    # joins surrogate pairs that are divided between two pieces
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder(ENCODING)("replace")
    )
    _stripper: PrefillStripper = field(init=False)

    def __post_init__(self) -> None:
        self._stop = StopToken(self.cancel, self.request.deadline)
        self._stripper = PrefillStripper(self.repeated)

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
        """Append a piece of text to the reply, and pass it to `on_text`."""
        self._append(self._stripper.feed(text))

    def flush(self) -> None:
        """Append the text that was held back; called after the last piece."""
        self._append(self._stripper.flush(), end=True)

    def received(self, *, progress: bool) -> None:
        """Record that a piece arrived, so that `check` can recognize a server that stalls.

        Args:
            progress: False for a piece without content, which counts as progress only if it is the
                first piece.
        """
        if progress or self._progress is None:
            self._progress = time.monotonic()

    def add_token(self, token: Token, alternatives: Iterable[tuple[str, float]]) -> None:
        """Append a token and its alternatives to the reply.

        Args:
            alternatives: pairs of text and natural logarithm of the probability. The probabilities
                of alternatives with the same text are summed. If there are no alternatives, only
                the token is appended.
        """
        self.tokens.append(Token(well_formed(token.text), token.logprob))
        by_text: dict[str, float] = {}
        for raw, logprob in alternatives:
            text = well_formed(raw)
            # This formula for the logarithm of a sum of probabilities does not overflow.
            if (known := by_text.get(text)) is not None:
                logprob = max(known, logprob) + math.log1p(math.exp(-abs(known - logprob)))
            by_text[text] = logprob
        if by_text:
            self.logprobs.append(dict(sorted(by_text.items(), key=lambda item: -item[1])))

    def drop_tokens(self, text: str) -> None:
        """Remove the tokens of `text`, a repeated prefill, from the start of `tokens`.

        The entries of these tokens are also removed from `logprobs`. If the tokens do not begin
        with `text`, nothing is removed.
        """
        if not text or not "".join(token.text for token in self.tokens).startswith(text):
            return
        ends = itertools.accumulate(len(token.text) for token in self.tokens)
        count = sum(end <= len(text) for end in ends)
        del self.tokens[:count], self.logprobs[:count]

    def check(self) -> None:
        """Raise an error if the generation must end.

        Raises:
            DeadlineExceeded: the deadline has passed, or the answer has made no progress for
                `STALLED` seconds. The error contains the text that has been received.
            Interrupted: the generation was cancelled.
        """
        try:
            self._stop.check()
            if self._progress is not None and time.monotonic() - self._progress > STALLED:
                raise DeadlineExceeded(
                    f"the answer made no progress for {STALLED:g} s",
                    hint="Run the line again. If that fails too, see the server's log.",
                )
        except DeadlineExceeded as exc:
            self.flush()
            exc.partial = exc.reply = self.text
            raise

    def reply(
        self,
        finish_reason: FinishReason,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> Reply:
        """Call `flush`, and return the reply, without secrets in the arguments of tool calls."""
        self.flush()
        calls = (
            ToolCall(
                well_formed(c.name),
                well_formed_json(without_secrets(c.arguments)),
                well_formed(c.id),
            )
            for c in tool_calls
        )
        return Reply(
            self.text,
            finish_reason,
            prompt_tokens,
            completion_tokens,
            self.seconds,
            cached_tokens,
            tuple(self.logprobs),
            tuple(self.tokens),
            tuple(calls),
        )

    def _append(self, text: str, *, end: bool = False) -> None:
        """Redact secrets in a piece of text, append it, and pass it to `on_text`.

        Args:
            end: True for the last piece. Otherwise, a high surrogate or a possible beginning of a
                secret at the end of the text is held back until the next piece.
        """
        text = self._decoder.decode(text.encode(ENCODING, "surrogatepass"), final=end)
        text = without_secrets(self._held + text)
        kept = len(text) - (0 if end else held_back(text))
        text, self._held = text[:kept], text[kept:]
        if text:
            self.pieces.append(text)
            if self.on_text:
                self.on_text(text)


def well_formed_json(text: str) -> str:
    """Return a JSON text with `well_formed` applied to its strings.

    If the text is not JSON, `well_formed` is applied to the whole text.
    """
    try:
        values = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return well_formed(text)
    made = well_formed(values)
    return text if made == values else made


def token_text(token: str, raw: Sequence[int] | None) -> str:
    """Return the bytes `raw` of a token as text, or `token` if the engine reports no bytes.

    llama.cpp drops an incomplete character from the text of a token: the text " " may also
    represent a blank that is followed by the first byte of an emoji.
    """
    return bytes(raw).decode("utf-8", "replace") if raw else token


def relay(
    produce: Callable[[Emit[T]], None],
    take: Callable[[T], None],
    state: GenerationState,
    interrupt: Callable[[], None] | None = None,
) -> None:
    """Run `produce(emit)` in a worker thread, and call `take` in this thread for each item.

    Args:
        produce: calls `emit(item)` for each item, and returns soon after `emit` returned True.
        take: called with each item; an exception ends the generation.
        interrupt: called at the end in any case, to wake up a blocked `produce`.

    Raises:
        DeadlineExceeded, Interrupted: raised by `state.check`.
        KeyboardInterrupt: Ctrl-C was pressed; a stop of the worker thread has been requested.
        Exception: an exception of `produce` or `take`. A GenerationFailed of `produce` contains the
            partial text.
    """
    items: SimpleQueue[Any] = SimpleQueue()
    stop = threading.Event()
    failures: list[BaseException] = []

    def emit(item: T) -> bool:
        items.put(item)
        return stop.is_set()

    def work() -> None:
        try:
            produce(emit)
        except BaseException as exc:  # noqa: BLE001 it is raised again in the calling thread
            failures.append(exc)
        finally:
            items.put(_END)

    # The thread is not a daemon: if native code returned after Python has ended, the process would
    # abort.
    worker = threading.Thread(target=work, name="generation")
    worker.start()
    try:
        while True:
            state.check()
            try:
                item = items.get(timeout=TICK)
            except Empty:
                continue
            if item is _END:
                break
            take(item)
    finally:
        stop.set()
        if interrupt is not None:
            interrupt()
        worker.join(JOIN)
    if failures:
        failure = failures.pop()
        if isinstance(failure, GenerationFailed):
            state.flush()
            failure.partial = failure.reply = state.text
        raise failure
