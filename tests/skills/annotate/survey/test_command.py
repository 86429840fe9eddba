"""/annotate TOPIC: papers from the corpus and arXiv, their annotations, and the survey."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from annotate_workspace import Workspace, paper, write_table
from arxiv_server import ArxivServer
from declared_outputs import check_output

from harness.errors import InputError, NothingFound, SkillFailed
from harness.testing import FakeModel
from skills.annotate.plugin import Annotate
from skills.nanda.framework import nanda


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A corpus with three annotated papers on sorting."""
    workspace = Workspace(tmp_path)
    workspace.rows(1, 2, 3)
    workspace.annotate("save to first.jsonl")
    workspace.annotator.counts.clear()
    return workspace


def test_a_survey_of_annotated_papers_needs_no_model(workspace: Workspace) -> None:
    outcome = workspace.app.dispatch(
        "/annotate Survey of sorting papers save to survey.md -o survey.csv --source corpus"
    )
    assert outcome.result.code == 0
    assert workspace.annotator.counts == {}
    survey = (workspace.folder / "survey.md").read_text(encoding="utf-8")
    for number in (1, 2, 3):
        assert f"Claim of method {number}." in survey
        assert f"https://arxiv.org/abs/{paper(number)['arxiv_id']}" in survey
    assert (workspace.folder / "survey.csv").read_text().count("\n") == 4
    assert "3 papers on 'Survey of sorting papers'; annotated before: 3 by" in workspace.stderr


def test_without_a_target_the_survey_is_the_answer(workspace: Workspace) -> None:
    outcome = workspace.app.dispatch("/annotate sorting papers --source corpus --max 2")
    assert outcome.result.text.count("Claim of method") == 2
    summary = outcome.result.summary
    assert summary is not None
    assert (summary["papers"], summary["annotated_before"]) == (2, 2)


def test_the_summary_counts_all_papers(workspace: Workspace) -> None:
    line = "/annotate sorting papers --source corpus --json"
    result = workspace.app.dispatch(line).result
    check_output(Annotate(), "", result)
    assert result.summary == {
        "topic": "sorting papers",
        "papers": 3,
        "annotated_before": 3,
        "done": 3,
        "failed": 0,
        "pending": 0,
    }
    more = write_table(workspace.folder / "more.csv", paper(4), paper(5))
    workspace.app.dispatch(f"/corpus add {more}")
    workspace.annotator.faults[5] = lambda: "no JSON"
    summary = workspace.app.dispatch(line).result.summary
    assert summary is not None
    counts = ("papers", "annotated_before", "done", "failed", "pending", "made", "errors")
    assert [summary[key] for key in counts] == [5, 3, 4, 1, 0, 1, {"InvalidReply": 1}]
    assert summary["model"] == "nanda-annotator"
    assert {"tokens", "seconds"} < set(summary)
    assert not {"rows", "input", "filtered"} & set(summary)


def test_a_named_model_annotates_them_again(workspace: Workspace) -> None:
    workspace.app.dispatch(
        "/annotate sorting papers --source corpus --model producer --max-tokens 900"
    )
    assert workspace.annotator.counts == {1: 1, 2: 1, 3: 1}


def test_nothing_found_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(NothingFound, match="no paper on 'sorting baskets' in the corpus"):
        workspace.app.dispatch("/annotate sorting baskets --source corpus")


def test_a_period_without_days_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="2025-01-01"):
        workspace.app.dispatch("/annotate sorting papers --since 2025 --until 2024")


def test_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ARXIV_URL", "http://127.0.0.1:9/query")
    with pytest.raises(SkillFailed, match="arXiv cannot be reached") as failed:
        Workspace(tmp_path).app.dispatch("/annotate tool-using agents --source arxiv")
    assert failed.value.exit_code == 1


def test_papers_from_arxiv_are_annotated_into_the_corpus(
    tmp_path: Path, arxiv: ArxivServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = json.dumps({name: f"RAG does not know its {name}." for name in nanda().names})
    workspace = Workspace(tmp_path, FakeModel(words))
    outcome = workspace.app.dispatch("/annotate Survey of RAG techniques save to survey.md --max 2")
    assert outcome.result.code == 0, workspace.stderr
    assert "https://arxiv.org/abs/2403.00001" in (tmp_path / "survey.md").read_text()
    assert "2403.00001" in workspace.app.dispatch("/corpus search 'not know'").result.text
    asked = len(arxiv.requests)
    outcome = workspace.app.dispatch("/annotate Survey of RAG techniques save to survey.md --max 2")
    assert outcome.result.summary is not None
    assert outcome.result.summary["annotated_before"] == 2
    assert len(arxiv.requests) == asked  # the corpus has enough by now
