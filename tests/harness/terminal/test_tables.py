"""Tables show all text."""

from harness.terminal.tables import table

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
