"""/annotate ABSTRACT stores the annotation in the corpus, and reads it from there."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from annotate_workspace import ABSTRACT, Workspace

from harness.errors import InputError, OutputError


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text(ABSTRACT.format(1))
    return Workspace(tmp_path)


def papers(workspace: Workspace) -> list[tuple[str, str]]:
    with sqlite3.connect(workspace.corpus) as db:
        rows = db.execute("SELECT id_field, title FROM papers ORDER BY id").fetchall()
    db.close()
    return rows


def test_the_annotation_is_found_in_the_corpus(workspace: Workspace) -> None:
    workspace.app.dispatch("/annotate one.txt --title 'Sorting fast'")
    assert papers(workspace) == [("id", "Sorting fast")]
    found = workspace.app.dispatch("/corpus search 'claim of method'").result
    assert "Sorting fast" in found.text


def test_the_same_abstract_is_annotated_once(workspace: Workspace) -> None:
    first = workspace.app.dispatch("/annotate one.txt").result
    second = workspace.app.dispatch(f"/annotate {ABSTRACT.format(1)}").result
    assert second.data == first.data
    assert workspace.annotator.counts == {1: 1}
    assert "annotated on 20" in workspace.stderr
    workspace.app.dispatch("/annotate one.txt --db other.db")
    assert workspace.annotator.counts == {1: 2}, "another corpus has no annotation of it"


def test_the_abstract_of_a_table_keeps_its_paper(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotate()
    found = workspace.app.dispatch("/annotate one.txt -o one.json").result.data
    assert workspace.annotator.counts == {1: 1}
    assert papers(workspace) == [("arxiv_id", "Paper 1")]
    assert found["id"] == json.loads(Path("one.json").read_text())["id"]
    assert "arxiv_id" not in found, "the result does not depend on what the corpus has"


def test_a_full_disk_does_not_cost_the_annotation(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("skills.corpus.db.store.save", full)
    result = workspace.app.dispatch("/annotate one.txt").result
    assert "Claim of method 1." in result.text
    assert "not stored in the corpus: database or disk is full" in workspace.stderr


@pytest.mark.parametrize("damage", ["no database", "damaged pages", "no folder"])
def test_a_corpus_that_cannot_be_used_costs_nothing(workspace: Workspace, damage: str) -> None:
    (Path("two.txt")).write_text(ABSTRACT.format(2))
    if damage == "no folder":
        workspace.corpus.parent.parent.mkdir(parents=True, exist_ok=True)
        workspace.corpus.parent.write_text("a file in its place")
    else:
        workspace.app.dispatch("/annotate two.txt")
        content = workspace.corpus.read_bytes()
        workspace.corpus.with_name("corpus.db-wal").unlink(missing_ok=True)
        kept = 0 if damage == "no database" else 4096
        workspace.corpus.write_bytes(content[:kept] + b"x" * (len(content) - kept))
    result = workspace.app.dispatch("/annotate one.txt").result
    assert "Claim of method 1." in result.text
    assert "the annotation is not stored in the corpus: " in workspace.stderr
    with pytest.raises((InputError, OutputError)):
        workspace.app.dispatch(f"/annotate one.txt --db {workspace.corpus}")
