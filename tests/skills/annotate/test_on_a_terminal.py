"""/annotate on a terminal: one paper, a table and a survey, and the next line to try."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from annotate_workspace import ABSTRACT, Workspace
from pseudo_terminal import pseudo_terminal

from harness.runs.frontend import show
from harness.terminal.console import Screen
from skills.annotate import table


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path)
    workspace.rows(1, 2, 3)
    (tmp_path / "abstract.txt").write_text(f"One paper\n\n{ABSTRACT.format(7)}\n")
    return workspace


def on_terminal(workspace: Workspace, line: str) -> list[str]:
    """Return the lines of a terminal that shows stdout and stderr."""
    with pseudo_terminal(80) as terminal:
        workspace.app.screen = Screen(terminal.stream, terminal.stream)
        show(workspace.app.dispatch(line), workspace.app.screen)
    return terminal.lines


def test_one_paper_is_shown_below_the_line_about_its_model(workspace: Workspace) -> None:
    lines = on_terminal(workspace, "/annotate abstract.txt")
    model = "model: nanda-annotator · fake · annotator · 00000000"
    assert lines[0] == model
    assert "One paper" in lines
    assert "Claim        Claim of method 7. [1]" in lines
    [dim] = [line for line in lines[1:] if "nanda-annotator ·" in line]
    assert "fake" not in dim
    assert lines[-1] == "Next: /annotate abstract.txt save to annotation.md"
    again = on_terminal(workspace, "/annotate abstract.txt save to one.md")
    assert "Claim        Claim of method 7. [1]" in again
    assert again[-1] == "Saved to one.md"
    assert again[0] == model
    assert again[1].endswith("; the annotation is read from the corpus")


def test_the_first_papers_of_a_table_are_shown(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SHOWN_PAPERS", 2)
    lines = on_terminal(workspace, "/annotate papers.csv")
    assert [line for line in lines if line.startswith("Claim ")] == [
        "Claim        Claim of method 1.",
        "Claim        Claim of method 2.",
    ]
    assert lines[-2:] == [
        "1 more paper: `save to FILE` saves all of them",
        "Next: /corpus search WORDS",
    ]


def test_a_saved_table_names_its_file_and_the_next_line(workspace: Workspace) -> None:
    lines = on_terminal(workspace, "/annotate papers.csv save to out.jsonl")
    assert "Claim" not in "".join(lines)
    assert lines[-2:] == ["Saved to out.jsonl", "Next: /curate out.jsonl save to curated.csv"]


def test_a_survey_is_rendered_and_has_each_address_once(workspace: Workspace) -> None:
    workspace.app.dispatch("/annotate papers.csv save to out.jsonl")
    text = "\n".join(on_terminal(workspace, "/annotate sorting papers --source corpus"))
    assert "**" not in text
    assert "| :-" not in text
    assert text.count("https://arxiv.org/abs/2401.00001") == 1


def test_a_pipe_gets_json(workspace: Workspace) -> None:
    out = io.StringIO()
    workspace.app.screen = Screen(out, io.StringIO())
    show(workspace.app.dispatch("/annotate papers.csv"), workspace.app.screen)
    assert [line[:13] for line in out.getvalue().splitlines() if line] == ['{"arxiv_id": '] * 3
