"""Jobs: parallel tasks, results stored at once, and errors that do or do not stop them."""

from __future__ import annotations

import _thread
import itertools
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest

from harness.errors import (
    GenerationFailed,
    HarnessError,
    Interrupted,
    InvalidReply,
    ModelBusy,
    ModelUnavailable,
    OutputError,
)
from harness.runs.jobs import AHEAD, ATTEMPTS, LONGEST_REQUESTED, Job
from harness.support.stop_token import StopToken


class RecordedToken(StopToken):
    """Records waits instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()

    def block(self) -> None:
        """Wait for a stop after all."""
        super().wait(10)


class Kept:
    """A job over numbers that records its results; `faults` are raised in turn, by number."""

    def __init__(self, slots: int = 2, **faults: list[Exception]) -> None:
        self.faults = {int(name.removeprefix("n")): list(errors) for name, errors in faults.items()}
        self.done: list[tuple[int, str]] = []
        self.failed: list[tuple[int, Exception]] = []
        self.attempts: list[int] = []
        self.stop = RecordedToken()
        self.waits = self.stop.waits
        self.job = Job[int, str](
            self.perform,
            lambda number, result: self.done.append((number, result)),
            lambda number, error: self.failed.append((number, error)),
            slots,
            self.stop,
        )

    def perform(self, number: int) -> str:
        self.attempts.append(number)
        if self.faults.get(number):
            raise self.faults[number].pop(0)
        return f"result {number}"

    @property
    def numbers(self) -> list[int]:
        return sorted(number for number, _ in self.done)


def test_every_task_is_done_once_and_kept_by_the_caller() -> None:
    kept, threads = Kept(), set()
    kept.job.keep = lambda number, result: threads.add(threading.current_thread())
    tally = kept.job.run(range(20))
    assert (tally.done, tally.failed, tally.stopped) == (20, 0, None)
    assert sorted(kept.attempts) == list(range(20))
    assert threads == {threading.current_thread()}


def test_all_slots_are_used() -> None:
    barrier = threading.Barrier(4, timeout=10)
    kept = Kept(slots=4)
    kept.job.perform = lambda number: str(barrier.wait())  # returns when four tasks wait
    assert kept.job.run(range(8)).done == 8


def test_tasks_are_started_as_slots_become_free() -> None:
    taken = itertools.count()
    last = 0

    def tasks() -> Iterator[int]:
        nonlocal last
        for number in range(100):
            last = next(taken)
            yield number

    kept = Kept(slots=3)
    most = []
    kept.job.keep = lambda number, result: most.append(last - kept.job.tally.done)
    kept.job.run(tasks())
    assert max(most) <= 3 * AHEAD


def test_a_failed_task_does_not_affect_others() -> None:
    kept = Kept(n3=[InvalidReply("no")], n5=[ZeroDivisionError("a fault of ours")])
    tally = kept.job.run(range(8))
    assert (tally.done, tally.failed, tally.stopped) == (6, 2, None)
    assert sorted((n, type(e)) for n, e in kept.failed) == [
        (3, InvalidReply),
        (5, ZeroDivisionError),
    ]
    assert kept.waits == []


def test_retryable_errors_are_retried_with_growing_waits() -> None:
    kept = Kept(slots=1, n1=[ModelBusy("full"), GenerationFailed("cut"), ModelBusy("full")])
    assert kept.job.run(range(3)).done == 3
    assert kept.attempts == [0, 1, 1, 1, 1, 2]
    assert [base <= wait <= base + 1 for base, wait in zip((1, 2, 4), kept.waits, strict=True)]
    assert kept.waits == sorted(kept.waits)


def test_a_wait_that_the_server_requests_is_kept() -> None:
    busy = [ModelBusy("full", wait=seconds) for seconds in (20, LONGEST_REQUESTED, -3)]
    kept = Kept(slots=1, n1=[*busy])
    assert kept.job.run(range(3)).done == 3
    assert kept.waits[:2] == [20, LONGEST_REQUESTED]
    assert 4 <= kept.waits[2] <= 5


def test_a_wait_that_is_too_long_ends_the_task_at_once() -> None:
    kept = Kept(slots=1, n1=[ModelBusy("come back tomorrow", wait=86_400)])
    tally = kept.job.run(range(3))
    assert (tally.done, tally.failed, kept.waits) == (2, 1, [])
    assert str(kept.failed[0][1]) == "come back tomorrow"


def test_the_last_attempt_decides() -> None:
    kept = Kept(n1=[ModelBusy(f"full {i}") for i in range(ATTEMPTS)])
    tally = kept.job.run(range(3))
    assert (tally.done, tally.failed) == (2, 1)
    assert str(kept.failed[0][1]) == f"full {ATTEMPTS - 1}"


@pytest.mark.parametrize(
    "error", [ModelUnavailable("gone"), Interrupted("off")], ids=lambda e: type(e).__name__
)
def test_an_error_that_affects_all_tasks_stops_the_job(error: HarnessError) -> None:
    kept = Kept(slots=1, n4=[error])
    tally = kept.job.run(range(1000))
    assert tally.stopped is error
    assert kept.numbers[:4] == [0, 1, 2, 3]
    assert len(kept.attempts) < 10
    assert kept.failed == []


def test_a_result_that_cannot_be_stored_stops_the_job() -> None:
    kept = Kept(slots=1)

    def keep(number: int, result: str) -> None:
        raise OutputError("the disk is full")

    kept.job.keep = keep
    tally = kept.job.run(range(1000))
    assert isinstance(tally.stopped, OutputError)
    assert tally.done == 0
    assert len(kept.attempts) <= 1 + AHEAD


@pytest.mark.parametrize("fault", [TypeError("a fault"), sqlite3.IntegrityError("a fault")])
def test_a_result_that_cannot_be_stored_fails_only_its_task(fault: Exception) -> None:
    kept = Kept()

    def keep(number: int, result: str) -> None:
        if number == 3:
            raise fault
        kept.done.append((number, result))

    kept.job.keep = keep
    tally = kept.job.run(range(8))
    assert (tally.done, tally.failed, tally.stopped, tally.unstored) == (7, 1, None, [])
    assert kept.failed == [(3, fault)]


@pytest.mark.parametrize(
    "fault",
    [
        OSError("the disk is full"),
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.DatabaseError("database disk image is malformed"),
    ],
)
def test_a_database_that_cannot_be_written_stops_the_job(fault: Exception) -> None:
    kept = Kept(slots=1)

    def keep(number: int, result: str) -> None:
        raise fault

    kept.job.keep = keep
    with pytest.raises(type(fault)):
        kept.job.run(range(1000))
    assert len(kept.attempts) <= 1 + AHEAD
    assert kept.failed == []


def test_an_error_that_cannot_be_stored_does_not_affect_others() -> None:
    fault = ZeroDivisionError("a fault of ours")
    kept = Kept(n3=[fault])

    def refuse(number: int, error: Exception) -> None:
        raise UnicodeError

    kept.job.refuse = refuse
    tally = kept.job.run(range(8))
    assert (tally.done, tally.failed, tally.stopped) == (7, 1, None)
    assert tally.unstored == [fault]


def test_ctrl_c_keeps_results_and_cancels_running_tasks() -> None:
    kept = Kept(slots=2)
    ended = []

    def perform(number: int) -> str:
        if number < 4:
            return f"result {number}"
        if number == 4:
            _thread.interrupt_main()
        kept.stop.block()
        ended.append(number)
        raise Interrupted("interrupted")

    kept.job.perform = perform
    started = time.monotonic()
    tally = kept.job.run(range(1000))
    assert time.monotonic() - started < 5
    assert isinstance(tally.stopped, Interrupted)
    assert kept.numbers == [0, 1, 2, 3]
    assert tally.done == 4
    assert len(ended) <= 2


def test_ctrl_c_does_not_interrupt_storing() -> None:
    kept = Kept(slots=1)
    whole = []

    def keep(number: int, result: str) -> None:
        if number == 1:
            _thread.interrupt_main()
        time.sleep(0.01)  # Python would handle a signal here
        whole.append(number)

    kept.job.keep = keep
    tally = kept.job.run(range(100))
    assert isinstance(tally.stopped, Interrupted)
    assert whole == list(range(tally.done))
    assert 2 <= tally.done <= 1 + 2 * AHEAD


def test_a_second_ctrl_c_interrupts_storing() -> None:
    kept = Kept(slots=1)

    def keep(number: int, result: str) -> None:
        for _ in range(2):
            _thread.interrupt_main()
            time.sleep(0.01)

    kept.job.keep = keep
    with pytest.raises(KeyboardInterrupt):
        kept.job.run(range(100))


def test_the_signal_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    Kept().job.run(range(3))
    assert signal.getsignal(signal.SIGINT) is before


def test_results_that_complete_during_a_stop_are_kept() -> None:
    kept = Kept(slots=2, n0=[ModelUnavailable("gone")])
    begun = threading.Event()

    def perform(number: int) -> str:
        if number == 0:
            begun.wait(10)
            raise ModelUnavailable("gone")
        begun.set()
        kept.stop.block()
        return "late and whole"

    kept.job.perform = perform
    tally = kept.job.run(range(2))
    assert isinstance(tally.stopped, ModelUnavailable)
    assert kept.done == [(1, "late and whole")]
    assert tally.done == 1


def test_an_attempt_cut_off_by_the_stop_is_not_a_failure() -> None:
    kept = Kept(slots=2)

    def perform(number: int) -> str:
        if number == 0:
            time.sleep(0.1)
            raise ModelUnavailable("gone")
        kept.stop.block()
        raise GenerationFailed("the connection was cut")

    kept.job.perform = perform
    tally = kept.job.run(range(2))
    assert (tally.done, tally.failed, kept.failed) == (0, 0, [])


def test_a_wait_ends_when_the_job_stops() -> None:
    kept = Kept(slots=2, n0=[ModelBusy("full")] * ATTEMPTS)
    kept.job.stop = StopToken()

    def perform(number: int) -> str:
        if number == 1:
            time.sleep(0.2)
            raise ModelUnavailable("gone")
        raise ModelBusy("full")

    kept.job.perform = perform
    started = time.monotonic()
    kept.job.run(range(2))
    assert time.monotonic() - started < 0.9  # the first wait alone would take a second


def test_an_error_of_the_tasks_stops_the_job() -> None:
    def tasks() -> Iterator[int]:
        yield from range(3)
        raise UnicodeError("row 4")

    kept = Kept()
    with pytest.raises(UnicodeError, match="row 4"):
        kept.job.run(tasks())
    assert kept.numbers == [0, 1, 2]


def test_a_job_without_tasks() -> None:
    assert Kept().job.run([]).done == 0
