"""Run many tasks in parallel, store each result immediately, and stop cleanly.

`Job.run` is a bounded parallel map that delivers its results in the calling thread, so that one
database connection can store them. A failed task does not affect other tasks. An error that affects
all tasks, such as a full disk, ends the job.
"""

from __future__ import annotations

import contextlib
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
from harness.support import traces
from harness.support.sqlite import is_of_storage
from harness.support.stop_token import StopToken

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 5
"""The maximum number of attempts for a task whose errors are retryable."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""The wait before the second attempt, and the longest wait, in seconds. The wait is doubled for
each later attempt, and up to a second is added at random. A server may request a longer wait.
"""
LONGEST_REQUESTED = 120.0
"""Maximum wait in seconds that a server may request; if it requests more, the task fails."""
TICK = 0.1
"""Interval in seconds at which a job checks whether a stop was requested."""
AHEAD = 2
"""Number of submitted tasks for each slot: a running task, and a task that follows immediately."""


@dataclass(slots=True)
class Tally:
    """The counts of a job, and its errors.

    Attributes:
        done: number of tasks whose results are stored.
        failed: number of tasks that failed.
        stopped: the reason why the job ended early, or None.
        unstored: the errors that `refuse` could not store. A continued job repeats the tasks that
            failed with these errors.
    """

    done: int = 0
    failed: int = 0
    stopped: HarnessError | None = None
    unstored: list[Exception] = field(default_factory=list)


@dataclass(slots=True)
class Job(Generic[T, R]):
    """A job, which performs tasks in parallel, and stores their results.

    `keep`, `refuse` and `tick` are called in the thread that called `run`.

    Attributes:
        perform: runs a task in a worker thread; may raise any exception.
        keep: stores the result of a task.
        refuse: stores the error of a failed task, or an error of `keep`.
        slots: number of tasks that run at the same time.
        stop: a token that ends the job if it is set. A job that ends early also sets the token;
            `perform` must then return.
        tick: called about every `TICK` seconds, and before the results of ended tasks are stored.
            It may store parts of the results of running tasks.
    """

    perform: Callable[[T], R]
    keep: Callable[[T, R], None]
    refuse: Callable[[T, Exception], None]
    slots: int
    stop: StopToken
    tick: Callable[[], None] = lambda: None
    tally: Tally = field(default_factory=Tally)
    _running: dict[Future[R], T] = field(default_factory=dict)

    def run(self, tasks: Iterable[T]) -> Tally:
        """Run all tasks, which are started in order, and return the tally.

        A requested stop, an unavailable model and an unusable database end the job: running tasks
        are cancelled, the results of completed tasks are stored if possible, and `Tally.stopped` is
        the reason.

        Raises:
            Exception: raised by `tasks` or `tick`, or by `keep` or `refuse` for an unusable
                database. A HarnessError is not raised, but stored in `Tally.stopped`.
        """
        executor = ThreadPoolExecutor(self.slots, thread_name_prefix="job")
        with self.stop.on_signals():
            try:
                self._run_all(executor, iter(tasks))
            except HarnessError as error:
                self._stop(error)
            except Exception as error:
                self._stop(InternalError(error))
                raise
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
        return self.tally

    def _run_all(self, executor: ThreadPoolExecutor, tasks: Iterator[T]) -> None:
        perform = traces.rows(self._attempts)
        for task in tasks:
            self._check()
            self._running[executor.submit(perform, task)] = task
            if len(self._running) >= self.slots * AHEAD:
                self._collect()
        while self._running:
            self._collect()

    def _collect(self) -> None:
        """Wait until at least one task has ended, and store the results of the ended tasks.

        Raises:
            HarnessError: the job must end.
        """
        ended: set[Future[R]] = set()
        while not ended:
            ended, _ = wait(self._running, timeout=TICK, return_when=FIRST_COMPLETED)
            self._check()
        # the results of these tasks are stored in the order in which the tasks were started
        for future in [one for one in self._running if one in ended]:
            self._settle(future)

    def _check(self) -> None:
        self.tick()
        self.stop.check()

    def _settle(self, future: Future[R]) -> None:
        task, error = self._running[future], future.exception()
        # errors that would also occur in the other tasks of the job
        affects_all = ModelError | OutputError | Interrupted | ReaderGone
        if isinstance(error, affects_all) and not isinstance(error, ModelBusy):
            del self._running[future]
            raise error
        if error is None:
            error = self._store(self.keep, task, future.result())
            self.tally.done += error is None
        if isinstance(error, Exception):
            unstored = self._store(self.refuse, task, error)
            self.tally.unstored += [error] * (unstored is not None)
            self.tally.failed += 1
        elif error is not None:
            raise error
        del self._running[future]

    @staticmethod
    def _store(store: Callable[[T, Any], None], task: T, ended: object) -> Exception | None:
        """Call `keep` or `refuse` for a task; return an exception that affects only this task.

        The result is None if no exception was raised.

        Raises:
            Exception: an error that affects all tasks, such as a full disk.
        """
        try:
            store(task, ended)
        except Exception as error:
            if isinstance(error, HarnessError) or is_of_storage(error):
                raise
            return error
        return None

    def _stop(self, error: HarnessError) -> None:
        """End the job early: cancel running tasks, and store the results of completed tasks.

        After an OutputError, no result is stored.

        Args:
            error: the reason, which is kept in `Tally.stopped`.
        """
        self.tally.stopped = error
        self.stop.request_stop()
        for future in list(self._running):
            future.cancel()
        wait(self._running)
        if isinstance(error, OutputError):
            return
        self.tick()
        for future in list(self._running):
            if future.cancelled():
                continue
            ended = future.exception()
            if isinstance(ended, Interrupted) or (ended is not None and _is_retryable(ended)):
                continue  # a continued job performs the task again
            with contextlib.suppress(HarnessError):  # `error` is reported instead
                self._settle(future)

    def _attempts(self, task: T) -> R:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_when_event_set(self.stop),
            wait=_wait,
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )
        return retrying(self.perform, task)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds before the next attempt: at least the wait that a server requests."""
    error = state.outcome.exception() if state.outcome else None
    requested = error.wait if isinstance(error, ModelBusy) else 0.0
    return max(tenacity.wait_exponential_jitter(FIRST_WAIT, LONGEST_WAIT)(state), requested)


def _is_retryable(error: BaseException) -> bool:
    too_late = isinstance(error, ModelBusy) and error.wait > LONGEST_REQUESTED
    return isinstance(error, HarnessError) and error.retryable and not too_late
