"""The job runner: slots kept busy, results kept as they come, errors that stop and that do not."""

from __future__ import annotations

import _thread
import itertools
import signal
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
from harness.runs.jobs import AHEAD, ATTEMPTS, LONGEST_ASKED, Job
from harness.support.stop_token import StopToken


class Kept:
    """A job over numbers that notes what it is handed; `faults` are raised in turn, by number."""

    def __init__(self, slots: int = 2, **faults: list[Exception]) -> None:
        self.faults = {int(name.removeprefix("n")): list(errors) for name, errors in faults.items()}
        self.done: list[tuple[int, str]] = []
        self.failed: list[tuple[int, Exception]] = []
        self.attempts: list[int] = []
        self.waits: list[float] = []
        self.cancel = StopToken()
        self.job = Job[int, str](
            self.perform,
            lambda number, result: self.done.append((number, result)),
            lambda number, error: self.failed.append((number, error)),
            slots,
            self.cancel,
            self.waits.append,
        )

    def perform(self, number: int) -> str:
        self.attempts.append(number)
        if self.faults.get(number):
            raise self.faults[number].pop(0)
        return f"result {number}"

    @property
    def numbers(self) -> list[int]:
        return sorted(number for number, _ in self.done)


def test_every_task_is_done_once_and_kept_in_the_thread_that_called() -> None:
    kept, threads = Kept(), set()
    kept.job.keep = lambda number, result: threads.add(threading.current_thread())
    tally = kept.job.run(range(20))
    assert (tally.done, tally.failed, tally.stopped) == (20, 0, None)
    assert sorted(kept.attempts) == list(range(20))
    assert threads == {threading.current_thread()}


def test_all_slots_are_in_work_at_once() -> None:
    barrier = threading.Barrier(4, timeout=10)
    kept = Kept(slots=4)
    kept.job.perform = lambda number: str(barrier.wait())  # returns when four are there
    assert kept.job.run(range(8)).done == 8


def test_tasks_are_taken_up_only_as_slots_come_free() -> None:
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


def test_a_task_that_fails_takes_no_other_along() -> None:
    kept = Kept(n3=[InvalidReply("no")], n5=[ZeroDivisionError("a fault of ours")])
    tally = kept.job.run(range(8))
    assert (tally.done, tally.failed, tally.stopped) == (6, 2, None)
    assert sorted((n, type(e)) for n, e in kept.failed) == [
        (3, InvalidReply),
        (5, ZeroDivisionError),
    ]
    assert kept.waits == []


def test_errors_that_can_pass_are_tried_again_with_longer_and_longer_waits() -> None:
    kept = Kept(slots=1, n1=[ModelBusy("full"), GenerationFailed("cut"), ModelBusy("full")])
    assert kept.job.run(range(3)).done == 3
    assert kept.attempts == [0, 1, 1, 1, 1, 2]
    assert [base <= wait <= base + 1 for base, wait in zip((1, 2, 4), kept.waits, strict=True)]
    assert kept.waits == sorted(kept.waits)


def test_a_server_is_left_alone_for_as_long_as_it_asks_within_reason() -> None:
    busy = [ModelBusy("full", wait=seconds) for seconds in (20, 86_400, -3)]
    kept = Kept(slots=1, n1=[*busy])
    assert kept.job.run(range(3)).done == 3
    assert kept.waits[:2] == [20, LONGEST_ASKED]
    assert 4 <= kept.waits[2] <= 5


def test_an_error_that_does_not_pass_is_the_tasks_failure_in_the_end() -> None:
    kept = Kept(n1=[ModelBusy(f"full {i}") for i in range(ATTEMPTS)])
    tally = kept.job.run(range(3))
    assert (tally.done, tally.failed) == (2, 1)
    assert str(kept.failed[0][1]) == f"full {ATTEMPTS - 1}"


@pytest.mark.parametrize(
    "error", [ModelUnavailable("gone"), Interrupted("off")], ids=lambda e: type(e).__name__
)
def test_what_no_other_task_can_pass_stops_the_job(error: HarnessError) -> None:
    kept = Kept(slots=1, n4=[error])
    tally = kept.job.run(range(1000))
    assert tally.stopped is error
    assert kept.numbers[:4] == [0, 1, 2, 3]
    assert len(kept.attempts) < 10
    assert kept.failed == []


def test_a_result_that_cannot_be_kept_stops_the_job() -> None:
    kept = Kept(slots=1)

    def keep(number: int, result: str) -> None:
        raise OutputError("the disk is full")

    kept.job.keep = keep
    tally = kept.job.run(range(1000))
    assert isinstance(tally.stopped, OutputError)
    assert tally.done == 0
    assert len(kept.attempts) <= 1 + AHEAD


def test_ctrl_c_keeps_what_is_done_and_ends_what_is_in_work() -> None:
    kept = Kept(slots=2)
    ended = []

    def perform(number: int) -> str:
        if number < 4:
            return f"result {number}"
        if number == 4:
            _thread.interrupt_main()
        kept.cancel.wait(10)
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


def test_ctrl_c_waits_until_what_is_being_kept_is_kept() -> None:
    kept = Kept(slots=1)
    whole = []

    def keep(number: int, result: str) -> None:
        if number == 1:
            _thread.interrupt_main()
        time.sleep(0.01)  # where a signal would be noticed
        whole.append(number)

    kept.job.keep = keep
    tally = kept.job.run(range(100))
    assert isinstance(tally.stopped, Interrupted)
    assert whole == list(range(tally.done))
    assert 2 <= tally.done <= 1 + 2 * AHEAD


def test_a_second_ctrl_c_does_not_wait() -> None:
    kept = Kept(slots=1)

    def keep(number: int, result: str) -> None:
        for _ in range(2):
            _thread.interrupt_main()
            time.sleep(0.01)

    kept.job.keep = keep
    with pytest.raises(KeyboardInterrupt):
        kept.job.run(range(100))


def test_after_a_job_ctrl_c_is_what_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    Kept().job.run(range(3))
    assert signal.getsignal(signal.SIGINT) is before


def test_what_was_done_while_the_job_was_being_stopped_is_kept_too() -> None:
    kept = Kept(slots=2, n0=[ModelUnavailable("gone")])
    begun = threading.Event()

    def perform(number: int) -> str:
        if number == 0:
            begun.wait(10)
            raise ModelUnavailable("gone")
        begun.set()
        kept.cancel.wait(10)
        return "late and whole"

    kept.job.perform = perform
    tally = kept.job.run(range(2))
    assert isinstance(tally.stopped, ModelUnavailable)
    assert kept.done == [(1, "late and whole")]
    assert tally.done == 1


def test_a_try_cut_off_by_the_stop_is_no_failure() -> None:
    kept = Kept(slots=2)

    def perform(number: int) -> str:
        if number == 0:
            time.sleep(0.1)
            raise ModelUnavailable("gone")
        kept.cancel.wait(10)
        raise GenerationFailed("the connection was cut")

    kept.job.perform = perform
    tally = kept.job.run(range(2))
    assert (tally.done, tally.failed, kept.failed) == (0, 0, [])


def test_a_wait_before_another_attempt_ends_when_the_job_does() -> None:
    kept = Kept(slots=2, n0=[ModelBusy("full")] * ATTEMPTS)
    kept.job.pause = None

    def perform(number: int) -> str:
        if number == 1:
            time.sleep(0.2)
            raise ModelUnavailable("gone")
        raise ModelBusy("full")

    kept.job.perform = perform
    started = time.monotonic()
    kept.job.run(range(2))
    assert time.monotonic() - started < 0.9  # the first wait alone is a second


def test_tasks_that_cannot_be_read_stop_the_job_after_what_is_done_was_kept() -> None:
    def tasks() -> Iterator[int]:
        yield from range(3)
        raise UnicodeError("row 4")

    kept = Kept()
    with pytest.raises(UnicodeError, match="row 4"):
        kept.job.run(tasks())
    assert kept.numbers == [0, 1, 2]


def test_nothing_to_do_is_done_at_once() -> None:
    assert Kept().job.run([]).done == 0
