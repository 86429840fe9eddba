"""How far a job is: rows done and failed, tokens a second, and the time that is left.

On a terminal it is a bar; elsewhere a line now and then, so that the log of an unattended job
tells how it went.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.terminal.console import Screen

LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""
MEMORY = 60.0
"""Seconds after which a measurement of the speed counts for a third: the time constant of its
exponentially weighted moving average."""


@dataclass(slots=True)
class Pace:
    """Counts of a running job and what follows from them. Rows are weighed by their length.

    The time left comes from the tokens left, since texts differ much in length: tokens for a unit
    of weight, as in the rows that are done, times the weight that is left, over tokens a second.

    Attributes:
        rows, weight: all that is to be done.
        filtered: rows that were left out before the job began.
        clock: seconds from any start.
    """

    rows: int
    weight: int
    filtered: int = 0
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    tokens: int = 0
    _weight_done: int = 0
    _tokens_done: int = 0
    _rate: float = 0.0
    _measured: tuple[float, int] = (0.0, 0)
    _begun: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._measured = (self.clock(), 0)

    def counter(self, row: str) -> Callable[[str], None]:
        """What a row's worker calls with each piece of its answer: about a token, until it ends."""

        def count(_: str) -> None:
            with self._lock:
                self.tokens += 1
                self._begun[row] = self._begun.get(row, 0) + 1

        return count

    def row(self, row: str, weight: int, tokens: int | None) -> None:
        """Count a row that has ended, with its completion tokens; None for one that failed."""
        self.done += tokens is not None
        self.failed += tokens is None
        with self._lock:
            pieces = self._begun.pop(row, 0)
            taken = pieces if tokens is None else tokens
            self.tokens += taken - pieces  # a piece may be more than a token, or less
        self._weight_done += weight
        self._tokens_done += taken

    @property
    def rate(self) -> float:
        """Tokens a second of late."""
        now, (then, before) = self.clock(), self._measured
        if now - then >= 1:
            latest, kept = (self.tokens - before) / (now - then), math.exp((then - now) / MEMORY)
            self._rate = latest if not before else kept * self._rate + (1 - kept) * latest
            self._measured = (now, self.tokens)
        return self._rate

    @property
    def seconds_left(self) -> float | None:
        """None as long as it cannot be said."""
        if not self.rate or not self._weight_done or not self._tokens_done:
            return None
        left = (self.weight - self._weight_done) * self._tokens_done / self._weight_done
        with self._lock:
            begun = sum(self._begun.values())
        return max(0.0, left - begun) / self.rate

    def __str__(self) -> str:
        parts = [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{self.filtered} filtered"] * bool(self.filtered)
        parts += [f"{self.rate:.0f} tokens/s"] * bool(self.rate)
        left = self.seconds_left
        return ", ".join([*parts, f"{duration(left)} left"] if left is not None else parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def shown(pace: Pace, screen: Screen, description: str) -> Iterator[Callable[[], None]]:
    """Show `pace` on stderr for as long as the block runs; call what it yields after each row."""
    if not screen.err.isatty() or os.environ.get("TERM") == "dumb":
        with _lines(pace, screen, description) as update:
            yield update
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}", markup=False),
    )
    with Progress(*columns, console=Console(file=screen.err), transient=True) as bar:
        # The bar asks for the text ten times a second, so that the rate moves between two rows.
        task = bar.add_task(description, total=pace.rows, pace=pace)
        yield lambda: bar.update(task, completed=pace.done + pace.failed)


@contextlib.contextmanager
def _lines(pace: Pace, screen: Screen, description: str) -> Iterator[Callable[[], None]]:
    said = pace.clock()

    def update() -> None:
        nonlocal said
        if pace.clock() - said >= LINE_EVERY:
            said = pace.clock()
            ended = pace.done + pace.failed
            screen.notice(f"{description}: {ended} of {pace.rows}, {pace}".rstrip(", "))

    yield update
