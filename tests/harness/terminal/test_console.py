"""Control characters in output."""

from __future__ import annotations

import io

import pytest
from pseudo_terminal import pseudo_terminal

from harness.terminal.console import Progress, Screen

TITLE = "Snow\x1b]0;owned\x07 melts\r\x9b2J.\x7f\n\tAt last.\n"


@pytest.mark.parametrize("way", ["emit", "result", "notice"])
def test_control_characters_are_replaced_on_a_terminal(way: str) -> None:
    with pseudo_terminal(80) as terminal:
        getattr(Screen(terminal.stream, terminal.stream), way)(TITLE)
    assert terminal.raw.rstrip("\n") == "Snow␛]0;owned␇ melts␍\ufffd2J.␡\n\tAt last."


def test_control_characters_are_kept_in_files() -> None:
    out = io.StringIO()
    Screen(out, out).result(TITLE)
    assert out.getvalue() == TITLE


@pytest.mark.parametrize("width", [40, 80])
def test_notices_are_wrapped_between_words(width: int) -> None:
    notice = "model: producer · llamacpp · a-file-with-a-long-name.gguf · 0123abcd\n  and why"
    with pseudo_terminal(width) as terminal:
        Screen(terminal.stream, terminal.stream).notice(notice)
    assert " ".join(terminal.lines).split() == notice.split()
    assert max(map(len, terminal.lines)) <= width
    assert terminal.lines[-1] == "  and why"
    plain = io.StringIO()
    Screen(plain, plain).notice(notice)
    assert plain.getvalue() == notice + "\n"


def test_a_step_that_is_not_reported_is_shown_on_a_terminal_alone() -> None:
    reports: list[Progress] = []
    with pseudo_terminal(80) as terminal:
        screen = Screen(terminal.stream, terminal.stream, on_progress=reports.append)
        with screen.progress("reading", reported=False) as tick:
            tick("1,000 rows")
    assert reports == []
    assert "reading: 1,000 rows" in terminal.raw
