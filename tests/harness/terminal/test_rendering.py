"""Rendering on a terminal: widths, colours, tables, and data that remains data."""

from __future__ import annotations

import re

import pytest
from pseudo_terminal import PseudoTerminal, pseudo_terminal
from rich.table import Table
from rich.text import Text

from harness.terminal.console import Screen
from harness.terminal.rendering import table

COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9]")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def shown(content: object, width: int = 80) -> PseudoTerminal:
    with pseudo_terminal(width) as terminal:
        Screen(terminal.stream, terminal.stream).show(content)  # type: ignore[arg-type]
    return terminal


@pytest.mark.parametrize("width", [50, 80, 200])
def test_text_is_wrapped_between_words_at_the_terminals_width(width: int) -> None:
    words = ["reproducibility"] * 40
    lines = shown(" ".join(words), width).lines
    assert " ".join(lines).split() == words
    assert max(map(len, lines)) > width - 17
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("content", ["{}", Text("{}"), Text("{}", "red")], ids=repr)
def test_control_characters_of_data_are_replaced(content: str | Text) -> None:
    hostile = "Snow\x1b]0;owned\x07 \x1b[2J\x9b2J melts"
    given = hostile if isinstance(content, str) else Text(hostile, content.style)
    terminal = shown(given)
    assert terminal.lines == ["Snow␛]0;owned ␛[2J\ufffd2J melts"]  # rich drops \x07


def test_a_link_of_data_is_no_link() -> None:
    assert shown(Text("here", "link https://example.org/\x1b[2J")).raw == "here\n"


def test_markup_and_emoji_names_of_data_are_not_interpreted() -> None:
    assert shown("[red]Snow[/red] [/] :snowman: melts").raw.strip() == (
        "[red]Snow[/red] [/] :snowman: melts"
    )


def test_colours_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    doubt = Text("doubt", "bold red")
    assert COLOUR.search(shown(doubt).raw)
    monkeypatch.setenv("NO_COLOR", "1")
    without = shown(doubt).raw
    assert not COLOUR.search(without)
    assert "\x1b[1m" in without
    monkeypatch.setenv("TERM", "dumb")
    assert shown(doubt).raw == "doubt\n"


def test_no_line_ends_in_blanks() -> None:
    """A line of blanks that fills the terminal leaves the cursor where ^C wraps."""
    table = Table.grid(expand=True)
    table.add_row("a", Text("b", "red"))
    assert not re.search(r" (?:\x1b\[0m)?\n", shown(table).raw)


LONG = "a-very-long-name-without-blanks-" * 10


def test_rows_are_not_wrapped_without_a_terminal():
    assert table(("name", "why"), [(LONG, "one two"), ("b", None)]).splitlines() == [
        f"name{' ' * (len(LONG) - 4)}  why",
        f"{LONG}  one two",
        "b",
    ]


def test_long_cells_are_wrapped_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.__stdout__.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    drawn = table(("name",), [(LONG,)])
    assert all(len(line) <= 60 for line in drawn.splitlines())
    assert "".join(drawn.splitlines()[1:]) == LONG


HEADERS = ("category", "papers", "limitation", "implication")
ROWS = [("cs.CL", 3, "it is slow on long inputs", "use it"), ("cs.AI", 12, None, "wait")]


def on_terminal(monkeypatch, width):
    monkeypatch.setattr("sys.__stdout__.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    return table(HEADERS, ROWS).splitlines()


def test_columns_are_as_wide_as_their_words(monkeypatch):
    assert on_terminal(monkeypatch, 45) == [
        "category  papers  limitation      implication",
        "cs.CL     3       it is slow on   use it",
        "                  long inputs",
        "cs.AI     12                      wait",
    ]


def test_rows_are_blocks_on_a_terminal_that_is_too_narrow(monkeypatch):
    assert on_terminal(monkeypatch, 30) == [
        "category     cs.CL",
        "papers       3",
        "limitation   it is slow on",
        "             long inputs",
        "implication  use it",
        "",
        "category     cs.AI",
        "papers       12",
        "implication  wait",
    ]
