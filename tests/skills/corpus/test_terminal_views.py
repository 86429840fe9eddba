"""/corpus on terminals of several widths, and unchanged in a pipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corpus_papers import annotated, corpus_of, paper
from pseudo_terminal import PseudoTerminal, pseudo_terminal

from harness.runs.frontend import show
from harness.terminal.console import Screen
from harness.testing import fake_app

WAGE = "The wage of couriers rises with the minimum wage."


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    items = [
        annotated(paper(1, title="Wages\x1b[2J of [red]couriers[/red]"), claim=WAGE, scope=WAGE),
        annotated(paper(2), claim="A wage is paid.", method="Ledgers find faults."),
        *(annotated(paper(number)) for number in range(3, 6)),
    ]
    return corpus_of(tmp_path / "data" / "corpus.db", items)


def on_terminal(folder: Path, line: str, width: int = 80) -> PseudoTerminal:
    with pseudo_terminal(width) as terminal:
        app = fake_app(folder)
        app.screen = Screen(terminal.stream)
        show(app.dispatch(line), app.screen)
    return terminal


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_matches_are_highlighted_and_grouped_by_paper(tmp_path: Path, corpus: Path) -> None:
    terminal = on_terminal(tmp_path, "/corpus search wage")
    assert "**" not in terminal.raw
    assert terminal.raw.count("\x1b[1;31mwage\x1b[0m") == 5
    lines = terminal.lines
    assert [line for line in lines if "couriers[/red]" in line] == [
        "Wages␛[2J of [red]couriers[/red]"
    ]
    first = lines.index("2405.00001 · 2024")
    assert sorted(lines[first + 1 : first + 3]) == [
        f"Claim  {WAGE} by both",
        f"Scope  {WAGE} by both",
    ]


@pytest.mark.parametrize("line", ["/corpus show 1", "/corpus search wage", "/corpus stats"])
@pytest.mark.parametrize("width", [50, 100, 200])
def test_no_word_is_broken(tmp_path: Path, corpus: Path, line: str, width: int) -> None:
    lines = on_terminal(tmp_path, line, width).lines
    assert max(map(len, lines)) <= width
    wide = on_terminal(tmp_path, line, 400).lines
    assert set(" ".join(lines).split()) <= set(" ".join(wide).split())


def test_a_paper_is_shown_with_its_annotation(tmp_path: Path, corpus: Path) -> None:
    lines = on_terminal(tmp_path, "/corpus show 2405.00002").lines
    assert lines[0] == "Paper 2"
    numbered = "[1] We test ledger 2. [2] It finds faults in plans. [3] It needs no oracle."
    assert numbered in lines
    assert "Claim        A wage is paid." in lines, "without a word of the abstract"
    assert "Method       Ledgers find faults. [2]" in lines
    assert lines[-1] == "annotator · fake · annotator · 2026-11-24 · 0.5 s"


def test_passages_of_a_shown_abstract_are_underlined(tmp_path: Path) -> None:
    item = annotated(paper(2))
    item.record["anchors"]["claim"] = {"sentences": [1], "spans": [[3, 16]], "by": "model"}
    corpus_of(tmp_path / "data" / "corpus.db", [item])
    raw = on_terminal(tmp_path, "/corpus show 2405.00002").raw
    assert "We \x1b[4mtest ledger 2\x1b[0m. " in raw
    assert raw.count("\x1b[4m") == 1


def test_intervals_are_for_the_whole_corpus_alone(tmp_path: Path, corpus: Path) -> None:
    lines = on_terminal(tmp_path, "/corpus stats", 120).lines
    assert [line.split()[:3] for line in lines if line.startswith("claim")] == [
        ["claim", "100", "(57-100)"]
    ]
    [year] = [line for line in lines if line.startswith("2024")]
    assert year.split() == ["2024", "5", *["100"] * 8]


@pytest.mark.parametrize("count", [1, 4])
def test_few_papers_have_no_intervals_nor_unknown_facets(tmp_path: Path, count: int) -> None:
    unknown = [replace(paper(n), published="", categories="") for n in range(1, count + 1)]
    corpus_of(tmp_path / "data" / "corpus.db", map(annotated, unknown))
    terminal = on_terminal(tmp_path, "/corpus stats")
    assert "interval" not in " ".join(terminal.lines)
    assert "(" not in "".join(line for line in terminal.lines if line.startswith("claim"))
    assert "unknown" not in " ".join(terminal.lines)
