"""Markdown on a terminal: whole, and as it arrives."""

from __future__ import annotations

import io

import pytest
from pseudo_terminal import PseudoTerminal, pseudo_terminal

from harness.terminal import markdown
from harness.terminal.console import Screen, render_markdown

ANSWER = """\
# An answer

It has **strong** words, `code` and <b>tags</b>.

- one thing
- another, see [the page](https://example.org/a) or <https://x.org/_b_/*c*>

```python
print("[red]")
```

| Paper | Limitation | Implication |
| --- | :---: | --- |
| [1] | ✓ | - |
"""


def shown(text: str, width: int = 80) -> PseudoTerminal:
    with pseudo_terminal(width) as terminal:
        Screen(terminal.stream).show(render_markdown(text))
    return terminal


def test_markdown_is_rendered() -> None:
    lines = shown(ANSWER).lines
    assert lines[:3] == ["An answer", "", "It has strong words, code and <b>tags</b>."]
    assert " • one thing" in lines
    assert " • another, see the page (https://example.org/a) or https://x.org/_b_/*c*" in lines
    assert '    print("[red]")' in lines
    assert lines[-2:] == ["Paper  Limitation  Implication", "[1]        ✓       -"]


def test_tables_become_blocks_and_no_background_is_set() -> None:
    terminal = shown(ANSWER, 25)
    assert terminal.lines[-3:] == ["Paper        [1]", "Limitation   ✓", "Implication  -"]
    assert "\x1b[40m" not in terminal.raw
    assert ";40m" not in terminal.raw


@pytest.fixture
def every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "REFRESH", 0)
    monkeypatch.setenv("TERM", "xterm-256color")


def last_screen(raw: str) -> list[str]:
    """Return what remains on a screen that is long enough, of the sequences that Live uses."""
    lines, row = [""], 0
    for char in markdown_tokens(raw):
        if char == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif char == "\r":
            pass
        elif char == "\x1b[1A":
            row -= 1
        elif char == "\x1b[2K":
            lines[row] = ""
        elif not char.startswith("\x1b"):
            lines[row] += char
    return [line.rstrip() for line in lines]


def markdown_tokens(raw: str) -> list[str]:
    import re

    return re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", raw, re.DOTALL)


@pytest.mark.usefixtures("every_piece")
def test_a_streamed_answer_ends_as_the_whole_one_is_rendered() -> None:
    with pseudo_terminal(80) as terminal:
        screen = Screen(terminal.stream)
        writer = screen.markdown_writer()
        for start in range(0, len(ANSWER), 3):
            writer.write(ANSWER[start : start + 3])
        writer.close()
    assert screen.emitted
    assert screen.line_ended
    assert "\n".join(last_screen(terminal.raw)).strip() == "\n".join(shown(ANSWER).lines).strip()
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h"), "the cursor"


@pytest.mark.usefixtures("every_piece")
def test_an_interrupted_answer_is_kept() -> None:
    with pseudo_terminal(80) as terminal:
        writer = Screen(terminal.stream).markdown_writer()
        writer.write("First.\n\nThe second **paragr")
        writer.close()
    lines = [line for line in last_screen(terminal.raw) if line]
    assert lines == ["First.", "The second **paragr"]


@pytest.mark.usefixtures("every_piece")
def test_ctrl_c_while_it_is_drawn_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pseudo_terminal(40) as terminal:
        writer = Screen(terminal.stream).markdown_writer()
        writer.write("A line that is continued ")
        flush = terminal.stream.flush

        def interrupt() -> None:
            flush()
            monkeypatch.setattr(terminal.stream, "flush", flush)
            raise KeyboardInterrupt

        monkeypatch.setattr(terminal.stream, "flush", interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.write("in the next one of the terminal")
        writer.close()
    lines = [line for line in last_screen(terminal.raw) if line]
    assert lines == ["A line that is continued in the next one", "of the terminal"]


def test_pipes_and_dumb_terminals_get_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    writer = Screen(out).markdown_writer()
    writer.write(ANSWER)
    writer.close()
    assert out.getvalue() == ANSWER
    monkeypatch.setenv("TERM", "dumb")
    with pseudo_terminal(80) as terminal:
        writer = Screen(terminal.stream).markdown_writer()
        writer.write("**so**")
        writer.close()
    assert terminal.raw == "**so**"
