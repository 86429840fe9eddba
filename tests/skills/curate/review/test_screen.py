"""The screen of a review: marks, findings, widths and colours."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.plain_text import PlainTextOutput
from repository import SHARED
from reviewing import ABSTRACT, ENTER, MOVES, Workspace, read_rows, row
from rich.console import Console
from terminal_session import terminal_session

from harness.terminal.console import Screen
from skills.corpus.table import TableRow
from skills.curate.items import Item
from skills.curate.review import screen as view
from skills.curate.review.form import WEAK_SOURCE, sheet_of
from skills.curate.review.screen import opened
from skills.nanda.checks import check
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.remarks import LOW_SUPPORT

DATA = SHARED


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of a wide terminal with colours."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def drawn(stream: io.StringIO | None = None, paper_id: str = "2405.00001", **moves: str) -> str:
    """Return what is shown for an annotation of paper 1."""
    paper = Paper("arxiv_id", paper_id, "Ledger 1", ABSTRACT.format(1))
    texts = {**MOVES, **moves}
    sheet = sheet_of(Item(paper, texts, "agent.csv, line 2"), nanda(), texts, {})
    stream = stream or io.StringIO()
    with create_pipe_input() as keys, opened(Screen(None, stream), keys, DummyOutput()) as terminal:
        terminal.show(view.drawn(sheet, "1 of 3 · 0 accepted"))
    return stream.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_source_sentence_of_each_move_is_marked() -> None:
    text = flat(drawn())
    assert "Plans of agents break in many ways. [1:Claim] [4:Scope] We present" in text
    assert "rehearses each plan. [3:Method] [8:Novelty]" in text
    assert (
        "On PlanBench it finds 12 faults. [2:Evidence] It needs no oracle. [7:Implication]" in text
    )
    assert "5 Limitation Not stated. 6 Comparison Not stated. 7" in text  # no source sentence


def test_a_weak_source_is_marked() -> None:
    few = "Some completely different words on weather, and oracle."
    assert "It needs no oracle. [7:Implication] [8:Novelty?]" in flat(drawn(novelty=few))
    assert "[8:Novelty" not in drawn(novelty="Some completely different words altogether.")


def test_a_stored_passage_is_marked_until_its_move_is_edited() -> None:
    abstract = ABSTRACT.format(1)
    paper = Paper("arxiv_id", "2405.00001", "Ledger 1", abstract)
    start = abstract.index("agents break")
    anchor = {"sentences": [1], "spans": [[start, start + 12]], "by": "model"}
    row = TableRow("line 2", paper, MOVES, anchors={"method": anchor})
    item = Item(paper, MOVES, "agent.csv, line 2", entry=row)

    def shown(moves: dict[str, str]) -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(view.drawn(sheet_of(item, nanda(), moves, {}), "1 of 3"))
        return flat(console.file.getvalue())  # type: ignore[attr-defined]

    passage = "agents break [3:Method] in many ways. [1:Claim]"
    assert passage in shown(MOVES)
    edited = shown({**MOVES, "method": "Ledger rehearses plans."})
    assert passage not in edited
    assert "rehearses each plan. [3:Method]" in edited


def test_an_uncertain_move_is_marked_until_it_is_edited() -> None:
    paper = Paper("arxiv_id", "2405.00001", "Ledger 1", ABSTRACT.format(1))
    row = TableRow("agent.csv, line 2", paper, MOVES, confidence={"claim": 0.31, "scope": 0.9})
    item = Item(paper, MOVES, "agent.csv, line 2", entry=row)

    def shown(moves: dict[str, str]) -> str:
        console = Console(file=io.StringIO(), width=100)
        with console.capture() as captured:
            console.print(view.drawn(sheet_of(item, nanda(), moves, {}), "1 of 3"))
        return flat(captured.get())

    assert shown(MOVES).count("! uncertain: confidence 0.31") == 1
    assert "! uncertain" not in shown({**MOVES, "claim": "Ledger finds 12 faults."})


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Ledger finds 99 faults on PlanBench.", "numbers that are not in the abstract: 99"),
        ("Ledger finds faults on ToolBench.", "names that are not in the abstract: ToolBench"),
        ("Robots weld heavy doors.", "few of its words are in the abstract"),
        (MOVES["method"], "has the same content as Method"),
        ("", "empty; use 'Not stated.'"),
        ("plan " * 97, "485 characters, more than 480"),
    ],
)
def test_findings_are_below_their_move(text: str, finding: str) -> None:
    shown = drawn(evidence=text)
    before, after = shown.split(f"! {finding}")
    assert "2 Evidence" in before
    assert "3 Method" in after or "same content" in after


def test_a_good_annotation_has_no_findings() -> None:
    assert "!" not in drawn()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_lines_fit_the_terminal_and_nothing_is_cut_off(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = "a-very-long-word-without-any-blank-" * 3
    text = drawn(claim=long)
    assert max(map(len, text.splitlines())) <= columns
    assert long in "".join(text.split())
    marks = [word for word in text.split() if word.startswith("[")]
    assert all(mark.endswith("]") for mark in marks)


def test_colours_mark_sentence_and_move_alike() -> None:
    text = drawn(Tty())
    cyan = "\x1b[36m"
    assert f"{cyan}Plans of agents break in many ways." in text
    assert "\x1b[1;36m[1:Claim]" in text
    assert "\x1b[1;36mClaim" in text
    assert "\x1b[2mNot stated." in text


def test_without_colours_the_marks_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in drawn(Tty())
    monkeypatch.setenv("TERM", "dumb")
    text = drawn(Tty())
    assert "\x1b" not in text
    assert "[1:Claim]" in text


def test_control_characters_are_not_sent_to_the_terminal() -> None:
    text = drawn(paper_id="x\x1b]0;owned\x07\u202ey", claim="[bold]Plans[/bold] :smile:")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]Plans[/bold] :smile:" in text


def test_a_dumb_terminal_shows_no_text_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty line keeps the move, and a typed text replaces it."""
    monkeypatch.setenv("TERM", "dumb")
    workspace, screen = Workspace(tmp_path), io.StringIO()
    workspace.annotations(row(1))
    workspace.review(f"3{ENTER}1Plans break.{ENTER}aq", terminal=PlainTextOutput(screen))
    assert read_rows(workspace.gold) == [row(1, claim="Plans break.")]
    assert "\x1b" not in screen.getvalue() + workspace.stderr
    assert "a accept  e edit" in screen.getvalue()


def test_the_thresholds_fit_the_gold() -> None:
    if not DATA.is_dir():
        pytest.skip("the shared data is not there")
    shares, scores = [], []
    for name in ("gold_train.csv", "gold_dev.csv"):
        with (DATA / name).open(newline="", encoding="utf-8") as file:
            for one in csv.DictReader(file):
                moves = nanda().stated({move: one[move] for move in nanda().names})
                checks = check(one["abstract"], moves)
                shares += checks["support"].values()
                scores += [source["score"] for source in checks["source"].values()]
    assert (len(shares), sum(share < LOW_SUPPORT for share in shares)) == (3581, 12)
    assert 0.005 < sum(score < WEAK_SOURCE for score in scores) / len(scores) < 0.015


@pytest.mark.slow
def test_a_session_at_a_real_terminal(tmp_path: Path) -> None:
    """/curate --review within the session: both read keys from one terminal, in turn."""
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1), row(2))
    folders = {f"HARNESS_{name}": str(tmp_path / name) for name in ("DATA", "CONFIG")}
    with terminal_session(tmp_path, 100, {**os.environ, **folders}) as session:
        session.press("/curate --review agent.csv", "\r")
        session.wait_for("1 of 2")
        session.press("a")
        session.wait_for("2 of 2", "? help")  # before the prompt, Ctrl-C may be lost
        session.press("\x03")
        session.wait_for("1 accepted, 0 rejected, 1 to do", "no model in use yet")
        session.press("\x04")
        assert session.end() == 0
    assert read_rows(workspace.gold) == [row(1)]


@pytest.mark.slow
def test_killed_at_a_real_terminal_nothing_is_lost(tmp_path: Path) -> None:
    """The process is killed in the middle of an edit, and the command given again."""
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1), row(2))
    folders = {f"HARNESS_{name}": str(tmp_path / name) for name in ("DATA", "CONFIG")}
    line = "/curate --review agent.csv --reviewer ada"
    with terminal_session(tmp_path, 100, {**os.environ, **folders}) as session:
        session.press(line, "\r")
        session.wait_for("1 of 2")
        session.press("a")
        session.wait_for("2 of 2")
        session.press("3", " Twice")
        session.wait_for("plan. Twice")
        session.kill()
    with terminal_session(tmp_path, 100, {**os.environ, **folders}) as session:
        session.press(line, "\r")
        session.wait_for("2 of 2")
        session.press("3")
        session.wait_for("plan. Twice")
        session.press(" a day.", "\r", "a")
        session.wait_for("all are decided on")
        session.press("q")
        session.wait_for("2 accepted (1 edited)")
    assert read_rows(workspace.gold) == [
        row(1),
        row(2, method="Ledger rehearses each plan. Twice a day."),
    ]


def test_control_characters_of_a_paper_are_visible() -> None:
    shown = drawn(claim="Ledger \x1b[2J\u202e books.")
    assert "Ledger ␛[2J\\u202e books." in flat(re.sub(r"\x1b\[[\d;]*m", "", shown))
