"""Control characters in output."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator

import pytest

from harness.terminal.console import Screen

TITLE = "Snow\x1b]0;owned\x07 melts\r\x9b2J.\x7f\n\tAt last.\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, io.TextIOWrapper]]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        yield ours, stream
    os.close(ours)


@pytest.mark.parametrize("way", ["emit", "result", "notice"])
def test_control_characters_are_replaced_on_a_terminal(
    terminal: tuple[int, io.TextIOWrapper], way: str
) -> None:
    ours, stream = terminal
    getattr(Screen(stream, stream), way)(TITLE)
    shown = os.read(ours, 1000).decode().replace("\r\n", "\n").rstrip("\n")
    assert shown == "Snow␛]0;owned␇ melts␍\ufffd2J.␡\n\tAt last."


def test_control_characters_are_kept_in_files() -> None:
    out = io.StringIO()
    Screen(out, out).result(TITLE)
    assert out.getvalue() == TITLE
