"""The session as a person sees it, on terminals of 40 and 80 columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal_session import TerminalSession, terminal_session

CTRL_C, ENTER, ALT_ENTER = "\x03", "\r", "\x1b\r"


@pytest.fixture(params=[40, 80])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TerminalSession]:
    for name in ("abstract.txt", "my paper.txt"):
        (tmp_path / name).write_text("We sort papers.\n")
    folders = {f"HARNESS_{name}": str(tmp_path / "own" / name) for name in ("DATA", "CONFIG")}
    environment = {**os.environ, **folders, "OLLAMA_HOST": "127.0.0.1:9"}
    with terminal_session(tmp_path, request.param, environment) as started:
        yield started


@pytest.mark.parametrize("word", ["exit", "quit", "/quit"])
def test_plain_words_do_what_they_mean(session: TerminalSession, word: str) -> None:
    session.press("help", ENTER)
    session.wait_for("/quit End the session")
    session.press("? logs", ENTER)
    session.wait_for("Usage: /logs")
    session.press(word, ENTER)
    assert session.end() == 0


def test_ctrl_c_twice_leaves_an_empty_prompt(session: TerminalSession) -> None:
    session.press("half a line", CTRL_C)
    assert "Ctrl-C again" not in session.text
    session.press(CTRL_C)
    session.wait_for("Ctrl-C again ends the session, as Ctrl-D and /exit do.")
    session.press("another line", CTRL_C, "x", CTRL_C)
    session.press(CTRL_C, CTRL_C)
    assert session.end() == 0


def test_alt_enter_begins_a_line_and_chat_lacks_a_model(
    session: TerminalSession,
) -> None:
    session.press("What is", ALT_ENTER, "an ablation study?")
    assert [line for line in session.lines if line[2:] in ("What is", "an ablation study?")] == [
        "> What is",
        "  an ablation study?",
    ]
    session.press(ENTER)
    session.wait_for("no available model is fit for chat", "the small model, whose answers")


def test_the_menu_of_files_and_the_status_line_fit(session: TerminalSession) -> None:
    session.complete("/annotate ", "abstract.txt", "my paper.txt")
    status = session.lines[-1]
    assert status.startswith(" no model in use yet | /models shows wh")
    session.complete("m", '> /annotate "my paper.txt"')


def test_tab_completes_at_once_what_was_typed_fast(session: TerminalSession) -> None:
    session.complete("/ann", "> /annotate")
    session.press(CTRL_C)
    session.complete("/corpus se", "> /corpus se", "search", "set-aside")
    session.press(CTRL_C)
    session.complete("/annotate x --casc", "> /annotate x --cascade")


def test_clear_clears_the_screen(session: TerminalSession) -> None:
    session.press("/help", ENTER)
    session.wait_for("/quit")
    session.press("/clear", ENTER)
    session.wait_for("A new conversation begins.")
    assert "/quit" not in session.text
