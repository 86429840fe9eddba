"""The progress of a job: finished and failed rows, tokens per second, and remaining time.

A terminal shows a bar, and a command has a single bar for all its phases. Any other stream, such as
the log of an unattended job, receives a line at intervals. If the job will take long, an additional
line is printed as soon as the remaining time is known.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.terminal.console import Screen

LINE_EVERY = 30.0
"""Seconds between two lines if stderr is not a terminal."""
LONG = 10.0
"""Minimum remaining time in seconds for which the first estimate is printed immediately."""
WINDOW = 60.0
"""Seconds over which the speed is measured. A job that has run for a shorter time is measured from
its first token.
"""
LEAST_LEFT = 0.2
"""The remaining tokens are at least this fraction of the estimated tokens of all unfinished rows,
since work may follow the last token of a row.
"""


@dataclass(slots=True)
class ProgressEstimate:
    """The counts of a running job, its speed, and its remaining time.

    Rows differ in length, so each row has a weight. The remaining tokens are the remaining weight
    times the tokens per unit of weight in finished rows, minus the tokens received so far for
    unfinished rows. The remaining time is the remaining tokens divided by the tokens per second. If
    the finished rows have no tokens, the remaining time is the remaining weight divided by the mean
    weight per second.

    Attributes:
        rows, weight: the number of rows and their total weight, over all phases of the job.
        filtered: the number of rows that were left out before the job.
        unit: the noun for rows, in the plural.
        phase: the name of the current phase.
        clock: returns a time in seconds.
    """

    rows: int
    weight: int
    filtered: int = 0
    unit: str = ""
    phase: str = ""
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    tokens: int = 0
    _weight_done: int = 0
    _tokens_done: int = 0
    _start: float = 0.0
    # pairs of a time and the number of tokens until that time
    _measured: deque[tuple[float, int]] = field(default_factory=deque)
    _begun: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._start = self.clock()
        self._measured.append((self._start, 0))

    def token_counter(self, row: str) -> Callable[[str], None]:
        """Return a function that counts each received piece of a row's answer as a token."""

        def count(_: str) -> None:
            with self._lock:
                if not self.tokens:  # the time before the first token is spent on loading the model
                    self._measured.clear()
                    self._measured.append((self.clock(), 0))
                self.tokens += 1
                self._begun[row] = self._begun.get(row, 0) + 1

        return count

    def finish_row(self, row: str, weight: int, tokens: int | None) -> None:
        """Count an ended row.

        Args:
            row: the key of the row, as for `token_counter`.
            tokens: the number of tokens in the answer, or None if the row has failed.
        """
        self.done += tokens is not None
        self.failed += tokens is None
        self.add_work(weight, tokens, row)

    def add_work(self, weight: int, tokens: int | None, row: str = "") -> None:
        """Count work without finishing a row; the parameters are as for `finish_row`."""
        with self._lock:
            pieces = self._begun.pop(row, 0)
            taken = pieces if tokens is None else tokens
            self.tokens += taken - pieces  # a piece may be more or less than a token
        self._weight_done += weight
        self._tokens_done += taken

    @property
    def count(self) -> str:
        """The number of ended rows, such as "4 of 12 papers"."""
        return f"{self.done + self.failed:,} of {self.rows:,} {self.unit}".rstrip()

    @property
    def line(self) -> str:
        """The phase and all figures, such as "annotating: 4 of 12 papers, 31 tokens/s"."""
        return f"{self.phase}: {self.count}, {self}".rstrip(", ")

    @property
    def rate(self) -> float:
        """Tokens per second in about the last minute; 0 before the first measurement."""
        with self._lock:
            now = self.clock()
            if now - self._measured[-1][0] >= 1:
                self._measured.append((now, self.tokens))
            while len(self._measured) > 2 and self._measured[1][0] <= now - WINDOW:
                self._measured.popleft()
            (begin, before), (end, after) = self._measured[0], self._measured[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The remaining time in seconds, or None while it is unknown."""
        passed = self.clock() - self._start
        if passed >= 1 and self.done and self._weight_done and not self._tokens_done:
            return passed * (self.weight - self._weight_done) / self._weight_done
        if not self.rate or not self._weight_done or not self._tokens_done:
            return None
        left = (self.weight - self._weight_done) * self._tokens_done / self._weight_done
        with self._lock:
            begun = sum(self._begun.values())
        return max(left - begun, LEAST_LEFT * left) / self.rate

    def __str__(self) -> str:
        parts = [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{self.filtered} filtered"] * bool(self.filtered)
        parts += [f"{self.rate:.0f} tokens/s"] * bool(self.rate)
        left = self.seconds_left
        return ", ".join([*parts, f"{duration(left)} left"] if left is not None else parts)


def duration(seconds: float) -> str:
    """Return a duration as text, such as "40 s", "3 min" or "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def show_progress(
    estimate: ProgressEstimate, screen: Screen, phase: str
) -> Iterator[Callable[[], None]]:
    """Show an estimate on stderr within the block; yield a function to call after each row.

    The progress is also reported to `Screen.on_progress`.

    Args:
        phase: the name of the first phase; setting `estimate.phase` begins another phase in the
            same bar.
    """
    estimate.phase = phase

    def report() -> None:
        done = estimate.done + estimate.failed
        screen.report(done, estimate.rows, _line(estimate, screen))

    report()
    with _shown(estimate, screen) as show:

        def update() -> None:
            show()
            report()

        yield update


@contextlib.contextmanager
def _shown(estimate: ProgressEstimate, screen: Screen) -> Iterator[Callable[[], None]]:
    if not screen.err.isatty() or os.environ.get("TERM") == "dumb":
        yield _lines(estimate, screen)
        return
    from rich.console import Console
    from rich.file_proxy import FileProxy
    from rich.progress import BarColumn, Progress, TextColumn

    class AboveTheBar(FileProxy):
        """A stream whose lines are printed above the bar; the stream counts as a terminal."""

        def isatty(self) -> bool:
            return True

    columns = (
        TextColumn("{task.fields[part]}{task.fields[estimate].phase}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[estimate].count}", markup=False),
        TextColumn("{task.fields[estimate]}", markup=False),
        TextColumn("{task.fields[rates]}", markup=False),
    )
    terminal = screen.err
    with Progress(*columns, console=Console(file=terminal), transient=True) as bar:
        # rich formats the estimate ten times per second, so the rate also changes during a row.
        task = bar.add_task(
            "", total=estimate.rows, estimate=estimate, part=screen.part, rates=screen.rates
        )
        screen.err = AboveTheBar(bar.console, terminal)
        try:
            yield lambda: bar.update(
                task, completed=estimate.done + estimate.failed, total=estimate.rows
            )
        finally:
            screen.err = terminal


def _lines(estimate: ProgressEstimate, screen: Screen) -> Callable[[], None]:
    last_line, is_known = estimate.clock(), False

    def update() -> None:
        nonlocal last_line, is_known
        begins = not is_known and (estimate.seconds_left or 0.0) >= LONG
        if begins or estimate.clock() - last_line >= LINE_EVERY:
            last_line, is_known = estimate.clock(), estimate.seconds_left is not None
            screen.notice(_line(estimate, screen))

    return update


def _line(estimate: ProgressEstimate, screen: Screen) -> str:
    return f"{screen.part}{estimate.line} {screen.rates}".rstrip()
