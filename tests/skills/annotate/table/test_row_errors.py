"""/annotate TABLE: an unexpected error of one row is that row's error."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from annotate_workspace import ABSTRACT, Workspace, paper, write_table

from skills.annotate.table import job
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import nanda


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


@pytest.mark.parametrize(
    "reply",
    ['{"claim": "a \ud83d"}', r'{"claim": "a \ud83d", "\ud83d": "b"}', "\ud83d: \udc00"],
    ids=["in the text", "in an escape", "in a label"],
)
def test_half_a_surrogate_pair_in_a_reply_fails_only_its_row(
    workspace: Workspace, reply: str
) -> None:
    workspace.rows(1, 2, 3)
    workspace.annotator.faults[2] = lambda: reply
    outcome = workspace.annotate()
    assert outcome.result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "3 papers: 2 done, 1 failed (1 InvalidReply" in workspace.stderr
    again = workspace.reopened()
    assert again.annotate().result.code == 1
    assert again.annotator.counts == {}


def test_an_annotation_with_half_a_pair_is_done(workspace: Workspace) -> None:
    workspace.rows(1)
    moves = {name: f"{name} \ud83d of method 1." for name in nanda().names}
    workspace.annotator.faults[1] = lambda: json.dumps(moves)
    assert workspace.annotate().result.code == 0
    record = json.loads((workspace.folder / "out.jsonl").read_text(encoding="utf-8"))
    assert record["claim"] == "claim \ufffd of method 1."


def test_a_reply_that_loops_is_the_error_of_its_row(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    moves = dict.fromkeys(nanda().names, "Not stated.") | {"claim": "It works and " * 24}
    workspace.annotator.faults[2] = lambda: json.dumps(moves)
    assert workspace.annotate().result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "1 failed (1 LoopingReply" in workspace.stderr


@pytest.mark.parametrize(
    ("module", "name"), [(job, "prepare"), (job, "annotate_paper"), (store, "save")]
)
def test_a_fault_of_ours_is_the_error_of_its_row(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    workspace.rows(1, 2, 3)
    known = getattr(module, name)

    def faulty(*given: Any, **more: Any) -> Any:
        if "method 2 " in str(given):
            raise IndexError("list index out of range")
        return known(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(module, name, faulty)
        assert workspace.annotate().result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "3 papers: 2 done, 1 failed (1 IndexError" in workspace.stderr
    with open_corpus(workspace.corpus) as db:
        (failure,) = db.execute("SELECT reason, traceback FROM failures")
    assert failure["reason"] == "IndexError: list index out of range"
    assert "in faulty" in failure["traceback"]
    later = workspace.reopened()
    repeat = "" if name == "prepare" else "--retry-failed "  # it had no key to repeat it by
    assert later.annotate(f"{repeat}save to out.jsonl").result.code == 0
    assert later.ids() == ["2401.00001", "2401.00002", "2401.00003"]


def test_a_paper_that_is_too_long_is_refused_before_its_request_is_made(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(workspace.table, {**paper(1), "abstract": ABSTRACT.format(1) + " word" * 1500})

    def faulty(*given: object, **more: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(job, "prepare", faulty)
    assert workspace.annotate().result.code == 1
    with open_corpus(workspace.corpus) as db:
        (failure,) = db.execute("SELECT reason FROM failures")
    assert "words are too many for an abstract" in failure["reason"]


def test_a_fault_of_ours_in_every_row_is_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.rows(1, 2, 3)

    def faulty(*given: object, **more: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(store, "save", faulty)
    monkeypatch.setattr(store, "fail", faulty)
    assert workspace.annotate().result.code == 1
    expected = "3 rows failed, and the error could not be stored; the first: IndexError: list"
    assert expected in workspace.stderr
    assert "Traceback" not in workspace.stderr
