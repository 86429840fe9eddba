"""How fast each node of a cluster generates, for the progress of a job."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

WINDOW = 60.0
"""Seconds over which the speed is measured."""


class Rates:
    """Completion tokens per second of each node, over the last minute; thread-safe.

    Args:
        clock: returns a time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._added: deque[tuple[float, tuple[str, str], int]] = deque()
        self._lock = threading.Lock()

    def add(self, node: tuple[str, str], tokens: int) -> None:
        """Count tokens of the node with this address and id."""
        with self._lock:
            self._added.append((self._clock(), node, tokens))

    def __str__(self) -> str:
        """Return "(10.0.0.1: 120, 10.0.0.2: 98 tokens/s)"; "" before the first token."""
        now = self._clock()
        with self._lock:
            while self._added and self._added[0][0] < now - WINDOW:
                self._added.popleft()
            tokens = Counter[tuple[str, str]]()
            for _, node, count in self._added:
                tokens[node] += count
        seconds = max(1.0, min(WINDOW, now - self._began))
        names = named(tokens)
        parts = [f"{names[node]}: {count / seconds:.0f}" for node, count in sorted(tokens.items())]
        return f"({', '.join(parts)} tokens/s)" if tokens.total() else ""


def named(nodes: Counter[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a name for each node: its address, with its id if several have the same address."""
    shared = Counter(address for address, _ in nodes)
    return {
        (address, node_id): address if shared[address] == 1 else f"{address} ({node_id[:6]})"
        for address, node_id in nodes
    }
