"""Running a generation in a worker thread, while the calling thread can be interrupted.

Neither the C++ engine nor a socket notices Ctrl-C, a deadline or a cancellation while it waits for
the next token. The calling thread never waits longer than `TICK`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from harness.errors import GenerationFailed
from harness.models.backends.generation import GenerationState

T = TypeVar("T")
Emit = Callable[[T], bool]

TICK = 0.05
"""Maximum delay, in seconds, before a deadline, a cancellation or Ctrl-C is noticed."""
JOIN = 1.0
"""Seconds to wait for an interrupted worker thread to end."""

_END = object()


def relay(
    produce: Callable[[Emit[T]], None],
    take: Callable[[T], None],
    state: GenerationState,
    interrupt: Callable[[], None] | None = None,
) -> None:
    """Run `produce(emit)` in a worker thread and call `take` in this one for each item emitted.

    Args:
        produce: calls `emit(item)` for each item, and returns soon after `emit` returned True.
        take: may raise an exception, which ends the generation.
        interrupt: wakes up a blocked `produce`; called in any case.

    Raises:
        DeadlineExceeded, Interrupted: raised by `state.check`.
        KeyboardInterrupt: Ctrl-C, after the worker was asked to stop.
        Exception: whatever `produce` or `take` raises; a GenerationFailed gets the text so far.
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
        except BaseException as exc:  # noqa: BLE001  raised again in the calling thread
            failures.append(exc)
        finally:
            items.put(_END)

    # Python waits for it at exit: native code that returns to a Python that has ended aborts.
    worker = threading.Thread(target=work, name="generation")
    worker.start()
    try:
        while (item := _next(items, state)) is not _END:
            take(item)
    finally:
        stop.set()
        if interrupt is not None:
            interrupt()
        worker.join(JOIN)
    if failures:
        failure = failures.pop()
        if isinstance(failure, GenerationFailed):
            failure.partial = state.text
        raise failure


def _next(items: SimpleQueue[Any], state: GenerationState) -> Any:
    while True:
        state.check()
        try:
            return items.get(timeout=TICK)
        except Empty:
            continue
