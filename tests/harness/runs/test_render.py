"""What a terminal shows of a result, and what a pipe gets."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pseudo_terminal import pseudo_terminal

from harness.api.options import GeneralOptions
from harness.api.skill import Result
from harness.runs.frontend import Outcome, show
from harness.terminal.console import Screen


def draw() -> str:
    return "drawn"


RESULT = Result("plain", {"a": 1}, terminal=draw, next="/corpus stats")
SAVED = (Path("a.md"),)


def on_terminal(result: Result, saved: tuple[Path, ...] = (), **general: Any) -> list[str]:
    with pseudo_terminal(80) as terminal:
        screen = Screen(terminal.stream, terminal.stream)
        show(Outcome(result, GeneralOptions(**general), saved), screen)
    return terminal.lines


def test_a_terminal_shows_the_rendering_and_the_next_line() -> None:
    assert on_terminal(RESULT) == ["drawn", "Next: /corpus stats"]
    assert on_terminal(RESULT, SAVED) == ["drawn", "Saved to a.md", "Next: /corpus stats"]


def test_without_a_rendering_a_terminal_shows_the_text() -> None:
    plain = Result("plain")
    assert on_terminal(plain) == ["plain"]
    assert on_terminal(plain, SAVED) == ["Saved to a.md"]


@pytest.mark.parametrize("saved", [(), SAVED])
def test_pipes_and_json_get_what_they_got_before(saved: tuple[Path, ...]) -> None:
    def fail() -> str:
        raise AssertionError("it is not shown")

    result = replace(RESULT, terminal=fail)
    out, err = io.StringIO(), io.StringIO()
    show(Outcome(result, GeneralOptions(), saved), Screen(out, err))
    assert out.getvalue() == ("" if saved else "plain\n")
    assert err.getvalue() == ("Saved to a.md\n" if saved else "")
    as_json = "".join(on_terminal(result, saved, json=True))
    assert as_json.startswith("{")
    assert "Next" not in as_json


def test_a_rendering_that_fails_costs_only_itself() -> None:
    def fail() -> str:
        raise ValueError("no such column")

    notice, text, _ = on_terminal(replace(RESULT, terminal=fail))
    assert notice == "the result cannot be rendered: ValueError('no such column')"
    assert text == "plain"
