"""How far a job is, in numbers and on both kinds of stderr."""

from __future__ import annotations

import io

import pytest

from harness.runs.progress import LINE_EVERY, Pace, duration, shown
from harness.terminal.console import Screen


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


def work(pace: Pace, clock: Clock, *, tokens: int, seconds: float, row: str = "a") -> None:
    count = pace.counter(row)
    for _ in range(tokens):
        count("word")
    clock.now += seconds


def test_time_left_follows_tokens_not_rows(clock: Clock) -> None:
    pace = Pace(rows=2, weight=4000, clock=clock)
    work(pace, clock, tokens=100, seconds=10)
    pace.row("a", 1000, 100)
    assert pace.rate == pytest.approx(10)
    assert pace.seconds_left == pytest.approx(30)  # 3,000 of 4,000 characters, 300 tokens, are left


def test_tokens_of_rows_in_work_count_as_well(clock: Clock) -> None:
    pace = Pace(rows=2, weight=2000, clock=clock)
    work(pace, clock, tokens=100, seconds=10)
    pace.row("a", 1000, 100)
    work(pace, clock, tokens=50, seconds=5)
    assert pace.seconds_left == pytest.approx(5)


def test_a_piece_need_not_be_a_token(clock: Clock) -> None:
    pace = Pace(rows=4, weight=4000, clock=clock)
    work(pace, clock, tokens=2, seconds=1)
    work(pace, clock, tokens=1, seconds=1, row="c")
    pace.row("a", 1000, 100)  # two pieces were a hundred tokens
    pace.row("b", 1000, None)
    assert pace.tokens == 101
    assert pace.rate == pytest.approx(50.5)


def test_the_speed_of_late_counts_more(clock: Clock) -> None:
    pace = Pace(rows=9, weight=9000, clock=clock)
    work(pace, clock, tokens=100, seconds=10)
    assert pace.rate == pytest.approx(10)
    work(pace, clock, tokens=0, seconds=60)
    assert pace.rate == pytest.approx(10 / 2.718, rel=0.01)


def test_nothing_is_said_of_the_time_before_a_row_is_done(clock: Clock) -> None:
    pace = Pace(rows=2, weight=2000, clock=clock)
    assert (pace.seconds_left, str(pace)) == (None, "")
    work(pace, clock, tokens=20, seconds=2)
    assert str(pace) == "10 tokens/s"
    pace.row("b", 1000, None)
    assert str(pace) == "1 failed, 10 tokens/s"


def test_what_is_shown(clock: Clock) -> None:
    pace = Pace(rows=3, weight=3000, filtered=4, clock=clock)
    work(pace, clock, tokens=100, seconds=10)
    pace.row("a", 1000, 100)
    pace.row("b", 1000, None)
    assert (pace.done, pace.failed) == (1, 1)
    assert str(pace) == "1 failed, 4 filtered, 10 tokens/s, 5 s left"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    screen = Screen(io.StringIO(), Terminal())
    pace = Pace(rows=4, weight=4000, filtered=1)
    with shown(pace, screen, "annotating") as update:
        pace.row("a", 1000, 10)
        pace.row("b", 1000, None)
        update()
    drawn = screen.err.getvalue()  # type: ignore[attr-defined]
    assert "annotating" in drawn
    assert "2/4" in drawn
    assert "1 failed, 1 filtered" in drawn
    assert drawn.endswith("\x1b[2K")


def test_elsewhere_a_line_comes_now_and_then(clock: Clock) -> None:
    screen = Screen(io.StringIO(), io.StringIO())
    pace = Pace(rows=4, weight=4000, clock=clock)
    with shown(pace, screen, "annotating") as update:
        for _ in range(3):
            work(pace, clock, tokens=100, seconds=LINE_EVERY / 2)
            pace.row("a", 1000, 100)
            update()
    said = screen.err.getvalue().splitlines()  # type: ignore[attr-defined]
    assert said == ["annotating: 2 of 4, 7 tokens/s, 30 s left"]
