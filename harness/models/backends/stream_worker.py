"""A generation runs in a worker thread; the thread that asked waits where it can be interrupted.

Neither an engine in C++ nor a socket can be relied on to notice Ctrl-C, a deadline or a cancelled
run while it waits for its next token. The thread that asked never waits for longer than `TICK`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from harness.errors import GenerationFailed
from harness.models.backends.generation import Watch

T = TypeVar("T")
Emit = Callable[[T], bool]

TICK = 0.05
"""Seconds until a deadline, a cancelled run or Ctrl-C is noticed at the latest."""
JOIN = 5.0
"""Seconds that an interrupted worker is waited for; one that is later ends by itself."""

_END = object()


def relay(
    produce: Callable[[Emit[T]], None],
    take: Callable[[T], None],
    watch: Watch,
    interrupt: Callable[[], None] | None = None,
) -> None:
    """Run `produce(emit)` in a worker thread and `take` in this one, for each item it emits.

    Args:
        produce: calls `emit(item)` for each item and returns soon after `emit` has returned True.
        take: may raise, which ends the work.
        interrupt: wakes a `produce` that waits for something; called in any case.

    Raises:
        DeadlineExceeded, Interrupted: what `watch` says.
        KeyboardInterrupt: Ctrl-C, once the work has been told to end.
        Whatever `produce` or `take` raises; a GenerationFailed gets the text so far.
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
        except BaseException as exc:  # noqa: BLE001  raised again in the thread that asked
            failures.append(exc)
        finally:
            items.put(_END)

    worker = threading.Thread(target=work, name="generation", daemon=True)
    worker.start()
    try:
        while (item := _next(items, watch)) is not _END:
            take(item)
    finally:
        stop.set()
        if interrupt is not None:
            interrupt()
        worker.join(JOIN)
    if failures:
        failure = failures.pop()
        if isinstance(failure, GenerationFailed):
            failure.partial = watch.text
        raise failure


def _next(items: SimpleQueue[Any], watch: Watch) -> Any:
    while True:
        watch.check()
        try:
            return items.get(timeout=TICK)
        except Empty:
            continue
