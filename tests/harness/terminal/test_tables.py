"""Tables show all text."""

from harness.terminal.rendering import table

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
