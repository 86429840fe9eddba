"""Many generations as one piece of work: as many at once as the model has slots, each kept as it
comes.

`run` is a bounded parallel map whose results are handed back in the thread that called it, so that
one connection to a database can take them. It stops in order on Ctrl-C, and when nothing more can
come; a task that fails takes no other along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import tenacity

from harness.errors import (
    HarnessError,
    InternalError,
    Interrupted,
    ModelBusy,
    ModelError,
    OutputError,
    ReaderGone,
)
from harness.support.stop_token import StopToken

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 5
"""How often a task is tried while its error can pass."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before the second attempt, which double with every other one, and their limit."""
LONGEST_ASKED = 120.0
"""Seconds that a server which asks for a longer wait is left alone at most."""
TICK = 0.1
"""Seconds until Ctrl-C is noticed at the latest."""
AHEAD = 2
"""Tasks taken up for each slot: one in work, and one that follows without a gap."""


@dataclass(slots=True)
class Tally:
    """What came of a job.

    Attributes:
        stopped: why tasks were left over; None if all ended as done or failed.
    """

    done: int = 0
    failed: int = 0
    stopped: HarnessError | None = None


@dataclass(slots=True)
class Job(Generic[T, R]):
    """A job over tasks of any kind.

    Attributes:
        perform: does one task, in a worker thread; may raise anything.
        keep: takes a task with its result. It is called in the thread that called `run`, and its
            errors end the job.
        refuse: takes a task that failed with its error, in the same thread.
        slots: tasks in work at once.
        stop: ends the job, and is set when the job ends early; `perform` must respect it.
        pause: waits some seconds before another attempt; returns early once `stop` is set.
        tick: called every `TICK` at least in the thread that called `run`, and once more when
            nothing is in work any longer, for what is to be kept before its task has ended.
    """

    perform: Callable[[T], R]
    keep: Callable[[T, R], None]
    refuse: Callable[[T, Exception], None]
    slots: int
    stop: StopToken
    pause: Callable[[float], Any] | None = None
    tick: Callable[[], None] | None = None
    tally: Tally = field(default_factory=Tally)
    _running: dict[Future[R], T] = field(default_factory=dict)

    def run(self, tasks: Iterable[T]) -> Tally:
        """Do all tasks, in their order as far as they are taken up.

        Ctrl-C, a model that is gone and a result that cannot be kept stop it: what is in work is
        told to end, what had been done by then is kept, and `Tally.stopped` says why.

        Raises:
            Whatever `tasks` raises, unless it is a HarnessError, which stops the job as well.
        """
        executor = ThreadPoolExecutor(self.slots, thread_name_prefix="job")
        with self.stop.on_signals():
            try:
                self._all(executor, iter(tasks))
            except HarnessError as error:
                self._stop(error)
            except Exception as error:
                self._stop(InternalError(error))
                raise
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
        return self.tally

    def _all(self, executor: ThreadPoolExecutor, tasks: Iterator[T]) -> None:
        for task in tasks:
            self._check()
            self._running[executor.submit(self._attempts, task)] = task
            if len(self._running) >= self.slots * AHEAD:
                self._collect()
        while self._running:
            self._collect()

    def _collect(self) -> None:
        """Wait until a task has ended, and take what has."""
        ended: set[Future[R]] = set()
        while not ended:
            ended, _ = wait(self._running, timeout=TICK, return_when=FIRST_COMPLETED)
            self._check()
        for future in ended:
            self._settle(future)

    def _check(self) -> None:
        if self.tick is not None:
            self.tick()
        self.stop.check()

    def _settle(self, future: Future[R]) -> None:
        task, error = self._running[future], future.exception()
        if isinstance(error, HarnessError) and _ends_the_job(error):
            del self._running[future]
            raise error
        if error is None:
            self.keep(task, future.result())
            self.tally.done += 1
        elif isinstance(error, Exception):
            self.refuse(task, error)
            self.tally.failed += 1
        else:
            raise error
        del self._running[future]

    def _stop(self, error: HarnessError) -> None:
        """End what is in work, keep what is done nevertheless, and note why."""
        self.tally.stopped = error
        self.stop.request_stop()
        for future in list(self._running):
            future.cancel()
        wait(self._running)
        if isinstance(error, OutputError):
            return
        if self.tick is not None:
            self.tick()
        for future in list(self._running):
            if not future.cancelled() and not _left_over(future.exception()):
                try:
                    self._settle(future)
                except HarnessError:  # the first reason is the one to tell
                    continue

    def _attempts(self, task: T) -> R:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_can_pass),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_when_event_set(self.stop),
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self.perform, task)

    def _sleep(self, seconds: float) -> None:
        (self.pause or self.stop.wait)(seconds)


def _left_over(error: BaseException | None) -> bool:
    """Whether a task of a job that was stopped is still to be done, no try being its last."""
    return isinstance(error, Interrupted) or (error is not None and _can_pass(error))


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: longer and longer ones, or what the server asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, ModelBusy) else 0.0
    own = tenacity.wait_exponential_jitter(FIRST_WAIT, LONGEST_WAIT)(state)
    return max(own, min(asked, LONGEST_ASKED))


def _can_pass(error: BaseException) -> bool:
    return isinstance(error, HarnessError) and error.retryable


def _ends_the_job(error: HarnessError) -> bool:
    """Whether no other task can fare better: the model is gone, or the work was called off."""
    if isinstance(error, ModelBusy):
        return False
    return isinstance(error, ModelError | OutputError | Interrupted | ReaderGone)
