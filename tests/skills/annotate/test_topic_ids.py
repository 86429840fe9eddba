"""/annotate of a list of ids, and of a DOI or PMID alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from annotate_workspace import Workspace
from arxiv_server import ArxivServer
from declared_outputs import check_output
from papers_server import Fault, PapersServer

from harness.errors import NothingFound, SkillFailed, UsageError
from harness.testing import FakeModel
from skills.annotate.plugin import Annotate
from skills.nanda.framework import nanda

IDS = """\
# to read
https://doi.org/10.1000/PLAN.1   # the first
pmid:31000002
2405.12345
10.1000/nowhere
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "ids.txt").write_text(IDS)
    moves = json.dumps({name: f"Planner needs half: {name}." for name in nanda().names})
    return Workspace(tmp_path, FakeModel(moves))


def test_a_list_of_ids_is_annotated(
    workspace: Workspace, papers: PapersServer, arxiv: ArxivServer, tmp_path: Path
) -> None:
    line = "/annotate ids.txt --source openalex,pubmed save to out.jsonl"
    result = workspace.app.dispatch(line).result
    check_output(Annotate(), "", result)
    assert result.code == 1
    assert result.summary is not None
    assert (result.summary["rows"], result.summary["done"]) == (4, 3)
    assert result.summary["filtered"] == {"no paper": 1}
    assert result.summary["missing"] == {"10.1000/nowhere": "not known to OpenAlex, PubMed"}
    rows = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text().splitlines()]
    ids = [row.get("arxiv_id") or row.get("paper_id") for row in rows]
    assert ids == ["10.1000/plan.1", "10.1000/plan.2", "2405.12345"]
    assert rows[0]["provenance"]["input"]["doi"] == "10.1000/plan.1"
    assert arxiv.asked == ["2405.12345"]
    assert "1 id without a paper to annotate:" in workspace.stderr


def test_what_was_found_is_not_requested_again(
    workspace: Workspace, papers: PapersServer, arxiv: ArxivServer
) -> None:
    line = "/annotate ids.txt --source openalex save to out.jsonl --force"
    workspace.app.dispatch(line)
    asked = len(papers.asked)
    workspace.app.dispatch(line)
    assert [one.values["filter"] for one in papers.asked[asked:]] == ["doi:10.1000/nowhere"]
    assert len(arxiv.asked) == 1


def test_a_list_needs_a_source_that_is_switched_on(
    workspace: Workspace, papers: PapersServer, arxiv: ArxivServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no source is switched on"):
        workspace.app.dispatch("/annotate ids.txt")
    assert papers.asked == []
    assert arxiv.asked == []
    monkeypatch.setenv("HARNESS_SOURCES", "openalex")
    assert workspace.app.dispatch("/annotate ids.txt").result.summary["done"] == 3


def test_arxiv_ids_alone_need_none(
    workspace: Workspace, papers: PapersServer, arxiv: ArxivServer, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text("2405.12345\n2401.99999\n")
    summary = workspace.app.dispatch("/annotate ids.txt").result.summary
    assert summary["missing"] == {"2401.99999": "not known to arXiv"}
    assert summary["done"] == 1


def test_an_abstract_with_a_doi_is_still_an_abstract(
    workspace: Workspace, papers: PapersServer, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text(
        "10.1000/xyz\n\nWe present a planner that plans before it acts.\n"
    )
    data = workspace.app.dispatch("/annotate ids.txt").result.data
    assert data["provenance"]["input"]["kind"] == "file"
    assert papers.asked == []


@pytest.mark.parametrize(
    "text", ["10.1000/plan.1", "https://doi.org/10.1000/plan.1", "pmid:31000001", "W4400000001"]
)
def test_one_paper_by_its_id(workspace: Workspace, papers: PapersServer, text: str) -> None:
    data = workspace.app.dispatch(f"/annotate {text} --source openalex").result.data
    assert data["paper_id"] == "10.1000/plan.1"
    assert data["title"] == "Planner: Tools That Plan"
    assert "We present Planner" in workspace.model.requests[0].messages[-1].content
    again = workspace.app.dispatch("/annotate doi:10.1000/plan.1").result.data
    assert again["provenance"] == data["provenance"]
    assert len(papers.asked) == 1


def test_an_id_without_a_paper(workspace: Workspace, papers: PapersServer) -> None:
    line = "/annotate 10.1000/nowhere --source openalex"
    with pytest.raises(NothingFound, match="not known to OpenAlex"):
        workspace.app.dispatch(line)
    with pytest.raises(NothingFound, match="OpenAlex has no abstract of it"):
        workspace.app.dispatch("/annotate 10.1000/plan.3 --source openalex")
    with pytest.raises(UsageError, match="no source is switched on"):
        workspace.app.dispatch("/annotate 10.1000/nowhere")


def test_a_file_takes_precedence_over_an_id(
    workspace: Workspace, papers: PapersServer, tmp_path: Path
) -> None:
    (tmp_path / "10.1000").mkdir()
    (tmp_path / "10.1000" / "notes").write_text("We present a planner that plans before it acts.")
    data = workspace.app.dispatch("/annotate 10.1000/notes").result.data
    assert data["provenance"]["input"]["kind"] == "file"


def test_a_source_does_not_apply_to_a_table(workspace: Workspace, papers: PapersServer) -> None:
    workspace.rows(1)
    with pytest.raises(UsageError, match="--source"):
        workspace.app.dispatch("/annotate papers.csv --source openalex")


def test_a_list_of_which_nothing_is_found(
    workspace: Workspace, papers: PapersServer, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text("10.1000/nowhere\n")
    papers.faults = [Fault(401)]
    with pytest.raises(NothingFound, match="no id of the list has a paper"):
        workspace.app.dispatch("/annotate ids.txt --source openalex")
    assert "OPENALEX_API_KEY" in workspace.stderr
    assert "10.1000/nowhere: not looked up" in workspace.stderr


def test_a_survey_of_all_sources(
    workspace: Workspace, papers: PapersServer, arxiv: ArxivServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    arxiv.shelf = ()
    line = "/annotate Survey of plans --relevance 0 --json"
    monkeypatch.setenv("HARNESS_SOURCES", "openalex,crossref,semanticscholar,pubmed,arxiv")
    summary = workspace.app.dispatch(line).result.summary
    assert summary["papers"] == 2
    places = {one.path.split("/")[1] for one in papers.asked}
    assert places == {"openalex", "crossref", "semanticscholar", "pubmed"}
    assert arxiv.asked == ["all:plans"]


def test_a_survey_goes_on_without_a_source_that_fails(
    workspace: Workspace, papers: PapersServer
) -> None:
    papers.faults = [Fault(401)]
    line = "/annotate Survey of plans --relevance 0 --source openalex,crossref"
    assert workspace.app.dispatch(line).result.summary["papers"] == 2
    assert "continuing with 2 papers from the other sources" in workspace.stderr
    papers.faults = [Fault(401), Fault(401)]
    with pytest.raises(SkillFailed, match="HTTP 401"):
        workspace.app.dispatch("/annotate Survey of tools --source openalex,crossref")


def test_a_survey_has_a_paper_of_the_corpus_once(
    workspace: Workspace, papers: PapersServer
) -> None:
    workspace.app.dispatch("/corpus fetch openalex plans")
    line = "/annotate Survey of plans --relevance 0 --source corpus,crossref"
    assert workspace.app.dispatch(line).result.summary["papers"] == 2
