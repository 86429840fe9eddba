"""Lines that save to a vault."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from corpus_papers import annotated, corpus_of, paper

from harness.cli.app import App
from harness.errors import OutputError, UsageError
from harness.testing import FakeModel, fake_app
from skills.corpus.db.connection import default_path
from skills.nanda.framework import nanda

ABSTRACT = "A planner that waits for the market to open. " * 3
MOVES = json.dumps({name: f"A planner that waits {name}." for name in nanda().names})


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.chdir(tmp_path)
    rows = ["id,title,abstract"]
    rows += [
        f"{n},Paper {n},{'A planner that waits for the market to open. ' * 3}{n}" for n in "ab"
    ]
    Path("papers.csv").write_text("\n".join(rows))
    return fake_app(tmp_path, FakeModel(MOVES))


def reported(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined]


def test_a_table_twice_with_an_edit_in_between(app: App) -> None:
    line = "/annotate papers.csv save to vault/"
    assert app.dispatch(line).saved == (Path("vault"),)
    note = Path("vault/Paper a.md")
    text = note.read_text().replace("---\n%%", "rating: 5\n---\n%%") + "\nMine.\n"
    note.write_text(text)
    os.utime(note, ns=(1, 1))
    app.dispatch(line)
    assert note.read_text() == text
    assert note.stat().st_mtime_ns == 1
    assert "vault: 2 notes unchanged" in reported(app)


@pytest.mark.parametrize("text", [ABSTRACT, "waiting planners --source corpus --relevance 0"])
def test_one_paper_and_a_topic(app: App, text: str) -> None:
    app.dispatch("/annotate papers.csv")
    app.dispatch(f"/annotate {text} save to one.vault")
    assert list(Path("one.vault").glob("*.md"))


@pytest.mark.parametrize(
    "line", ["export my.vault", "export new/", "filter claim=stated save to a/"]
)
def test_the_corpus(app: App, line: str) -> None:
    corpus_of(default_path(app.settings), [annotated(paper(1)), annotated(paper(2))])
    [folder] = app.dispatch(f"/corpus {line}").saved
    assert sorted(path.name for path in folder.iterdir()) == ["Paper 1.md", "Paper 2.md"]


@pytest.mark.parametrize(
    ("target", "error", "problem"),
    [
        ("other/", UsageError, "neither empty nor an Obsidian vault"),
        ("vault", UsageError, r"a name without a suffix.*FOLDER/, NAME\.vault/"),
        ("no/vault/", OutputError, "there is no folder"),
        ("papers.csv/vault/", OutputError, "there is no folder"),
    ],
)
def test_lines_that_are_refused_before_the_model(
    app: App, target: str, error: type[Exception], problem: str
) -> None:
    Path("other").mkdir()
    Path("other/thesis.docx").write_text("")
    with pytest.raises(error, match=problem):
        app.dispatch(f"/annotate papers.csv save to {target}")
    assert not default_path(app.settings).exists()


def test_parts_are_of_a_table(app: App) -> None:
    with pytest.raises(UsageError, match="only the annotations of a table"):
        app.dispatch(f"/annotate {ABSTRACT} save to all.parts")
    app.dispatch("/annotate papers.csv save to all.parts")
    assert list(Path("all.parts").glob("part-*.parquet"))
