"""The command as a process whose stdout is a terminal, and the same in a pipe."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from agent_process import environment_of
from corpus_papers import annotated, corpus_of, paper
from pseudo_terminal import agent_on_terminal

from harness.settings import CODE_ROOT

CLAIM = "Ledgers find 412 faults in the plans of deliveries, which a snapshot of the plans shows."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus_of(tmp_path / "data" / "corpus.db", [annotated(paper(1), claim=CLAIM)])
    return tmp_path


def environment_in(folder: Path, **given: str) -> dict[str, str]:
    without = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "HARNESS_REGISTRY")
    kept = {name: value for name, value in environment_of(folder).items() if name not in without}
    return kept | {"TERM": "xterm-256color"} | given


@pytest.mark.parametrize("width", [50, 80, 200])
@pytest.mark.parametrize("colour", [True, False])
def test_a_paper_is_rendered_for_the_width(folder: Path, width: int, colour: bool) -> None:
    environment = environment_in(folder, **({} if colour else {"NO_COLOR": "1"}))
    terminal = agent_on_terminal(folder, "/corpus show 1", width, environment)
    assert max(map(len, terminal.lines)) <= width
    words = " ".join(" ".join(terminal.lines).split())
    assert f"{CLAIM} [2] ! numbers that are not in the abstract: 412" in words
    assert bool(re.search(r"\x1b\[[0-9;]*31m", terminal.raw)) is colour


def test_a_pipe_gets_the_plain_text(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(CODE_ROOT / "agent.py"), "/corpus show 1"],
        cwd=folder,
        env=environment_in(folder, FORCE_COLOR="1", COLUMNS="50"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout
    head = "arxiv_id 2405.00001 (paper 1)\nPaper 1\n2024-05-17; cs.CL, cs.IR\n"
    assert done.stdout.startswith(head)
    assert "shows. [2]\n             ! numbers that are not in the abstract: 412\n" in done.stdout
