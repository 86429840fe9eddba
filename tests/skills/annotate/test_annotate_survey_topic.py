"""/annotate with a topic, from the line to the survey: the corpus first, then arXiv."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from arxiv_server import ArxivServer, running
from test_annotate_job import Desk, annotator, paper, write_table

from harness.errors import InputError, NothingFound, SkillFailed
from harness.testing import FakeModel
from skills.nanda.framework import nanda


@pytest.fixture
def arxiv(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArxivServer]:
    with running() as server:
        monkeypatch.setenv("HARNESS_ARXIV_URL", server.url)
        yield server


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A corpus that holds three annotated papers on sorting."""
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path)
    desk.rows(1, 2, 3)
    desk.annotate("save to first.jsonl")
    annotator(desk).asked.clear()
    return desk


def test_a_survey_of_annotated_papers_needs_no_model(desk: Desk) -> None:
    outcome = desk.app.dispatch(
        "/annotate Survey of sorting papers save to survey.md -o survey.csv --source corpus"
    )
    assert outcome.result.code == 0
    assert annotator(desk).asked == {}
    survey = (desk.folder / "survey.md").read_text(encoding="utf-8")
    for number in (1, 2, 3):
        assert f"Claim of method {number}." in survey
        assert f"https://arxiv.org/abs/{paper(number)['arxiv_id']}" in survey
    assert (desk.folder / "survey.csv").read_text().count("\n") == 4
    assert "3 papers on 'Survey of sorting papers'; annotated before: 3 by" in desk.said


def test_without_a_target_the_survey_is_the_answer(desk: Desk) -> None:
    outcome = desk.app.dispatch("/annotate sorting papers --source corpus --max 2")
    assert outcome.result.text.count("Claim of method") == 2
    summary = outcome.result.summary
    assert summary is not None
    assert (summary["papers"], summary["annotated_before"]) == (2, 2)


def test_the_summary_counts_all_papers(desk: Desk) -> None:
    line = "/annotate sorting papers --source corpus --json"
    summary = desk.app.dispatch(line).result.summary
    assert summary == {
        "topic": "sorting papers",
        "papers": 3,
        "annotated_before": 3,
        "done": 3,
        "failed": 0,
        "pending": 0,
    }
    more = write_table(desk.folder / "more.csv", paper(4), paper(5))
    desk.app.dispatch(f"/corpus add {more}")
    annotator(desk).faults[5] = lambda: "no JSON"
    summary = desk.app.dispatch(line).result.summary
    assert summary is not None
    counts = ("papers", "annotated_before", "done", "failed", "pending", "made", "errors")
    assert [summary[key] for key in counts] == [5, 3, 4, 1, 0, 1, {"InvalidReply": 1}]
    assert summary["model"] == "nanda-annotator"
    assert {"tokens", "seconds"} < set(summary)
    assert not {"rows", "input", "filtered"} & set(summary)


def test_a_named_model_annotates_them_again(desk: Desk) -> None:
    desk.app.dispatch("/annotate sorting papers --source corpus --model producer --max-tokens 900")
    assert annotator(desk).asked == {1: 1, 2: 1, 3: 1}


def test_nothing_found_is_an_error(desk: Desk) -> None:
    with pytest.raises(NothingFound, match="no paper on 'sorting baskets' in the corpus"):
        desk.app.dispatch("/annotate sorting baskets --source corpus")


def test_a_period_without_days_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="2025-01-01"):
        desk.app.dispatch("/annotate sorting papers --since 2025 --until 2024")


def test_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ARXIV_URL", "http://127.0.0.1:9/query")
    with pytest.raises(SkillFailed, match="arXiv cannot be reached") as failed:
        Desk(tmp_path).app.dispatch("/annotate tool-using agents --source arxiv")
    assert failed.value.exit_code == 1


def test_papers_from_arxiv_are_annotated_into_the_corpus(
    tmp_path: Path, arxiv: ArxivServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = json.dumps(dict.fromkeys(nanda().names, "Refuses what it does not know."))
    desk = Desk(tmp_path, FakeModel(words))
    outcome = desk.app.dispatch("/annotate Survey of RAG techniques save to survey.md --max 2")
    assert outcome.result.code == 0, desk.said
    assert "https://arxiv.org/abs/2403.00001" in (tmp_path / "survey.md").read_text()
    assert "2403.00001" in desk.app.dispatch("/corpus search 'not know'").result.text
    asked = len(arxiv.requests)
    outcome = desk.app.dispatch("/annotate Survey of RAG techniques save to survey.md --max 2")
    assert outcome.result.summary is not None
    assert outcome.result.summary["annotated_before"] == 2
    assert len(arxiv.requests) == asked  # the corpus has enough by now
