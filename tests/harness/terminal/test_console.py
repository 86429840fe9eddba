"""Control characters in output."""

from __future__ import annotations

import io
import json

import pytest
from pseudo_terminal import pseudo_terminal

from harness.terminal.console import Progress, Screen

TITLE = "Snow\x1b]0;owned\x07 melts\r\x9b2J.\x7f\n\tAt last.\n"


@pytest.mark.parametrize("way", ["emit", "result", "notice"])
def test_control_characters_are_replaced_on_a_terminal(way: str) -> None:
    with pseudo_terminal(80) as terminal:
        getattr(Screen(terminal.stream, terminal.stream), way)(TITLE)
    assert terminal.raw.rstrip("\n") == "Snow␛]0;owned␇ melts␍\ufffd2J.␡\n\tAt last."


@pytest.mark.parametrize("way", ["emit", "result", "notice"])
def test_control_characters_are_escaped_in_files(way: str) -> None:
    out = io.StringIO()
    getattr(Screen(out, out), way)(TITLE)
    escaped = "Snow\\u001b]0;owned\\u0007 melts\r\\u009b2J.\\u007f\n\tAt last."
    assert out.getvalue().rstrip("\n") == escaped


@pytest.mark.parametrize("code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_characters_that_reorder_text_are_escaped_everywhere(code: int) -> None:
    out, shown = io.StringIO(), f"a \\u{code:04x}b"
    with pseudo_terminal(80) as terminal:
        for screen in (Screen(terminal.stream, terminal.stream), Screen(out, out)):
            screen.notice(f"a {chr(code)}b")
            screen.result(f"a {chr(code)}b")
            writer = screen.markdown_writer()
            writer.write(f"a {chr(code)}b")
            writer.close()
    assert terminal.raw.count(shown) >= 3
    assert out.getvalue().count(shown) == 3
    assert chr(code) not in terminal.raw + out.getvalue()


def test_escapes_leave_the_values_of_json_unchanged() -> None:
    out = io.StringIO()
    Screen(out).result(json.dumps({"title": f"{TITLE}\u202e"}, ensure_ascii=False))
    assert json.loads(out.getvalue()) == {"title": f"{TITLE}\u202e"}
    assert out.getvalue().isascii()


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
            tick("1,000 rows of [bold]a.csv")
    assert reports == []
    assert "reading: 1,000 rows of [bold]a.csv" in terminal.raw
