"""The progress of a job, in numbers and on stderr."""

from __future__ import annotations

import io

import pytest

from harness.runs.progress import LINE_EVERY, ProgressEstimate, duration, show_progress
from harness.terminal.console import Progress, Screen


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def work(
    estimate: ProgressEstimate, clock: Clock, *, tokens: int, seconds: float, row: str = "a"
) -> None:
    count = estimate.token_counter(row)
    for _ in range(tokens):
        count("word")
    clock.now += seconds


def test_the_remaining_time_follows_tokens(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=2, weight=4000, clock=clock)
    work(estimate, clock, tokens=100, seconds=10)
    estimate.finish_row("a", 1000, 100)
    assert estimate.rate == pytest.approx(10)
    assert estimate.seconds_left == pytest.approx(30)  # 3,000 of 4,000 characters remain


def test_without_tokens_it_follows_the_rows(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=2, weight=4000, clock=clock)
    clock.now += 10
    estimate.finish_row("a", 1000, 0)
    assert estimate.seconds_left == pytest.approx(30)
    assert str(estimate) == "30 s left"


def test_tokens_of_unfinished_rows_count(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=2, weight=2000, clock=clock)
    work(estimate, clock, tokens=100, seconds=10)
    estimate.finish_row("a", 1000, 100)
    work(estimate, clock, tokens=50, seconds=5)
    assert estimate.seconds_left == pytest.approx(5)


def test_a_row_with_all_its_tokens_is_not_finished(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=2, weight=2000, clock=clock)
    work(estimate, clock, tokens=100, seconds=10)
    estimate.finish_row("a", 1000, 100)
    work(estimate, clock, tokens=100, seconds=10)
    assert estimate.seconds_left == pytest.approx(2)


def test_a_piece_need_not_be_a_token(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=4, weight=4000, clock=clock)
    work(estimate, clock, tokens=2, seconds=1)
    work(estimate, clock, tokens=1, seconds=1, row="c")
    estimate.finish_row("a", 1000, 100)  # its two pieces were 100 tokens
    estimate.finish_row("b", 1000, None)
    assert estimate.tokens == 101
    assert estimate.rate == pytest.approx(50.5)


def test_recent_speed_counts_more(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=9, weight=9000, clock=clock)
    work(estimate, clock, tokens=100, seconds=10)
    assert estimate.rate == pytest.approx(10)
    for _ in range(60):
        work(estimate, clock, tokens=2, seconds=1)
        rate = estimate.rate
    assert rate == pytest.approx(2)  # the mean of 220 tokens in 70 s would be 3.1


def test_the_speed_of_rows_is_that_of_the_last_minute(clock: Clock) -> None:
    """Without a terminal, the speed is measured only after each row."""
    estimate = ProgressEstimate(rows=100, weight=100_000, clock=clock)
    for seconds in [10] * 30 + [60] * 5:
        clock.now += seconds
        estimate.finish_row("a", 1000, 1000)
        rate = estimate.rate
    assert rate == pytest.approx(1000 / 60)


def test_loading_and_the_first_tokens_do_not_mislead(clock: Clock) -> None:
    """A bar reads the estimate all the time: in the first interval with tokens there are few."""
    estimate = ProgressEstimate(rows=20, weight=20_000, clock=clock)
    for _ in range(8):
        clock.now += 1  # the model is being loaded
        assert estimate.seconds_left is None
    work(estimate, clock, tokens=1, seconds=1)
    for finished in range(1, 6):
        for _ in range(4):
            work(estimate, clock, tokens=50, seconds=1, row=str(finished))
            _ = estimate.rate
        estimate.finish_row(str(finished), 1000, 200)
        if finished > 1:
            assert estimate.seconds_left == pytest.approx(4 * (20 - finished), rel=0.2)


def test_the_remaining_time_is_unknown_at_first(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=2, weight=2000, clock=clock)
    assert (estimate.seconds_left, str(estimate)) == (None, "")
    work(estimate, clock, tokens=20, seconds=2)
    assert str(estimate) == "10 tokens/s"
    estimate.finish_row("b", 1000, None)
    assert str(estimate) == "1 failed, 10 tokens/s"


def test_the_text_of_an_estimate(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=3, weight=3000, filtered=4, clock=clock)
    work(estimate, clock, tokens=100, seconds=10)
    estimate.finish_row("a", 1000, 100)
    estimate.finish_row("b", 1000, None)
    assert (estimate.done, estimate.failed) == (1, 1)
    assert str(estimate) == "1 failed, 4 filtered, 10 tokens/s, 5 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_shows_a_transient_bar() -> None:
    screen = Screen(io.StringIO(), Terminal())
    estimate = ProgressEstimate(rows=4, weight=4000, filtered=1, unit="papers")
    with show_progress(estimate, screen, "annotating") as update:
        estimate.finish_row("a", 1000, 10)
        estimate.finish_row("b", 1000, None)
        estimate.phase = "measuring"
        update()
    drawn = screen.err.getvalue()  # type: ignore[attr-defined]
    assert "annotating" in drawn
    assert "2 of 4 papers" in drawn
    assert "measuring" in drawn, "a phase is named in the same bar"
    assert "1 failed, 1 filtered" in drawn
    assert drawn.endswith("\x1b[2K")


def test_progress_of_a_part_is_named_as_such(clock: Clock) -> None:
    reports: list[Progress] = []
    screen = Screen(io.StringIO(), Terminal(), on_progress=reports.append)
    estimate = ProgressEstimate(rows=4, weight=4000, unit="steps", clock=clock)
    with screen.in_part("stage 2 of 8"):
        with screen.progress("loading the base"):
            pass
        with show_progress(estimate, screen, "training"):
            pass
    with screen.progress("saving"):
        pass
    drawn = screen.err.getvalue()  # type: ignore[attr-defined]
    for shown in ("stage 2 of 8, loading the base", "stage 2 of 8, training"):
        assert shown in drawn
        assert shown in [report.message.partition(":")[0] for report in reports]
    assert reports[-1].message == "saving"


def test_notices_are_printed_above_the_bar() -> None:
    terminal = Terminal()
    screen = Screen(io.StringIO(), terminal)
    with show_progress(ProgressEstimate(rows=4, weight=4000), screen, "annotating"):
        screen.notice("one \x1b[31mred\x07 line")
    assert screen.err is terminal
    drawn = terminal.getvalue()
    assert "one \u241b[31mred\u2407 line\n" in drawn.replace("\r", "")


def test_other_streams_receive_lines(clock: Clock) -> None:
    screen = Screen(io.StringIO(), io.StringIO())
    estimate = ProgressEstimate(rows=4, weight=4000, unit="papers", clock=clock)
    with show_progress(estimate, screen, "annotating") as update:
        for _ in range(3):
            work(estimate, clock, tokens=100, seconds=LINE_EVERY / 2)
            estimate.finish_row("a", 1000, 100)
            update()
    lines = screen.err.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == [
        "annotating: 1 of 4 papers, 7 tokens/s, 45 s left",
        "annotating: 3 of 4 papers, 7 tokens/s, 15 s left",
    ]


def test_a_short_job_has_no_line(clock: Clock) -> None:
    screen = Screen(io.StringIO(), io.StringIO())
    estimate = ProgressEstimate(rows=4, weight=4000, clock=clock)
    with show_progress(estimate, screen, "annotating") as update:
        for _ in range(4):
            work(estimate, clock, tokens=100, seconds=2)
            estimate.finish_row("a", 1000, 100)
            update()
    assert screen.err.getvalue() == ""  # type: ignore[attr-defined]


def test_work_that_finishes_no_row_is_part_of_the_estimate(clock: Clock) -> None:
    estimate = ProgressEstimate(rows=2, weight=4000, unit="papers", clock=clock)
    clock.now += 10
    estimate.add_work(2000, 100)
    assert estimate.count == "0 of 2 papers"
    assert estimate.seconds_left == pytest.approx(10)
