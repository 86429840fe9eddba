"""Tables cut nothing off."""

from harness.terminal.tables import table

LONG = "a-very-long-name-without-blanks-" * 10


def test_a_row_is_as_wide_as_it_is_where_stdout_is_no_terminal():
    assert table(("name", "why"), [(LONG, "one two"), ("b", None)]).splitlines() == [
        f"name{' ' * (len(LONG) - 4)}  why",
        f"{LONG}  one two",
        "b",
    ]


def test_what_is_too_long_for_a_terminal_goes_on_in_the_next_line(monkeypatch):
    monkeypatch.setattr("sys.__stdout__.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    drawn = table(("name",), [(LONG,)])
    assert all(len(line) <= 60 for line in drawn.splitlines())
    assert "".join(drawn.splitlines()[1:]) == LONG
