"""/annotate TOPIC: the words of a topic, its papers in the corpus and at arXiv, the survey."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Workspace, write_table
from annotate_workspace import paper as row_of
from arxiv_server import ArxivServer
from declared_outputs import check_output

from harness.errors import InputError, NothingFound, SkillFailed
from harness.testing import FakeModel
from skills.annotate.plugin import Annotate
from skills.annotate.topic import TopicPapers, find_papers, relevance, relevant, subject_words
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("Survey of RAG techniques", ["RAG"]),
        ("Survey of tool-using agents", ["tool", "agents"]),
        ("a recent, comprehensive survey of papers on LLM planning", ["LLM", "planning"]),
        ("RAG: a literature review", ["RAG"]),
        ("LLM agents survey", ["LLM", "agents"]),
        ("Recent advances in RAG methods for code", ["RAG", "code"]),
        ("Introduction to graph neural networks", ["graph", "neural", "networks"]),
        ("automated code review", ["automated", "code", "review"]),
        ("A systematic review of code review", ["code", "review"]),
        ("methods for survey sampling", ["survey", "sampling"]),
        ("review generation with LLMs", ["review", "generation", "LLMs"]),
        ("direct current motors", ["direct", "current", "motors"]),
        ("case study research", ["case", "study", "research"]),
        ("Experts, mixture of experts", ["Experts", "mixture"]),
        ("C++ and R", ["C", "R"]),
        ("survey", ["survey"]),
        ("a review of", ["review"]),
        ("to be or not to be", ["to", "be", "or", "not"]),
        ("RAG\u202e for Gödel", ["RAG", "Gödel"]),
    ],
)  # fmt: skip
def test_subject_words(topic: str, words: list[str]) -> None:
    assert subject_words(topic) == words


@pytest.mark.parametrize("topic", ["?!", "", " - "])
def test_a_topic_without_a_word_is_refused(topic: str) -> None:
    with pytest.raises(InputError, match="has no words"):
        subject_words(topic)


def paper(name: str, *, arxiv_id: str = "", abstract: str = "") -> Paper:
    text = abstract or f"We present {name}."
    return Paper("arxiv_id" if arxiv_id else "paper_id", arxiv_id or name, name, text)


def count_words(one: Paper, words: Sequence[str]) -> int:
    return sum(word in f"{one.abstract} RAG".split() for word in words)


class Places:
    """A corpus and an arXiv with some papers, which record their searches."""

    def __init__(self, corpus: list[Paper], arxiv: list[Paper] | Exception) -> None:
        self.corpus, self.arxiv = corpus, arxiv
        self.asked: list[Any] = []
        self.notices: list[str] = []

    def from_corpus(self, words: Sequence[str], fewest: int) -> list[Paper]:
        self.asked.append(("corpus", fewest))
        return [one for one in self.corpus if count_words(one, words) >= fewest]

    def from_arxiv(self, words: Sequence[str], operator: str) -> list[Paper]:
        self.asked.append(("arxiv", operator))
        if isinstance(self.arxiv, Exception):
            raise self.arxiv
        fewest = len(words) if operator == "AND" else 1
        return [one for one in self.arxiv if count_words(one, words) >= fewest]

    def find(
        self, topic: str = "Survey of RAG techniques", source: str = "", limit: int = 3, **more: Any
    ) -> list[str]:
        found = find_papers(
            topic,
            limit=limit,
            from_corpus=None if source == "arxiv" else self.from_corpus,
            sources={} if source == "corpus" else {"arXiv": self.from_arxiv},
            notice=self.notices.append,
            **more,
        )
        return [one.title for one in found]


A, B, C, D = (paper(name) for name in "ABCD")
OFFLINE = SkillFailed("arXiv cannot be reached (ConnectionError)", where="http://x", hint="Wait.")


def test_a_corpus_with_enough_papers_is_enough() -> None:
    places = Places([A, B, C, D], [])
    assert places.find() == ["A", "B", "C"]
    assert places.asked == [("corpus", 1)]


def test_arxiv_adds_what_the_corpus_lacks() -> None:
    places = Places([A], [B, C, D])
    assert places.find() == ["A", "B", "C"]
    assert places.asked == [("corpus", 1), ("arxiv", "AND")]
    assert places.notices == []


def test_no_paper_is_returned_twice() -> None:
    known = paper("known", arxiv_id="2403.00001v1")
    newer = paper("newer", arxiv_id="2403.00001")
    same = paper("same", arxiv_id="2403.00009", abstract="We  present\nA.")
    places = Places([known, A, A], [newer, same, B])
    assert places.find(limit=9) == ["known", "A", "B"]


def test_a_renamed_version_with_the_same_doi_is_the_same_paper() -> None:
    doi = {"doi": "10.1162/x.1"}
    known = replace(paper("Scaling laws", arxiv_id="2403.00001v1"), source=doi)
    newer = replace(paper("Bigger machines", arxiv_id="2403.00001v2"), source=doi)
    assert Places([known], [newer]).find(limit=9) == ["Scaling laws"]


@pytest.mark.parametrize(("source", "titles"), [("corpus", ["A"]), ("arxiv", ["B"])])
def test_one_source_alone(source: str, titles: list[str]) -> None:
    places = Places([A], [B])
    assert places.find(source=source) == titles
    assert [place for place, _ in places.asked] == [source]


def test_the_corpus_is_used_when_arxiv_fails() -> None:
    places = Places([A], OFFLINE)
    assert places.find() == ["A"]
    assert places.notices == [
        "arXiv cannot be reached (ConnectionError); continuing with 1 paper from the corpus"
    ]


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("", "no paper on 'Survey of RAG techniques' in the corpus or at arXiv", "Try other words"),
        ("corpus", "no paper on 'Survey of RAG techniques' in the corpus", "--source corpus"),
        ("arxiv", "no paper on 'Survey of RAG techniques' in arXiv", "Try other words"),
    ],
)
def test_nothing_found(source: str, message: str, hint: str) -> None:
    with pytest.raises(NothingFound) as caught:
        Places([], []).find(source=source)
    assert caught.value.message.endswith(message)
    assert hint in str(caught.value.hint)
    with pytest.raises(NothingFound, match=" published since 2024-01-01 in"):
        Places([], []).find(source=source, period=" published since 2024-01-01")


def test_nothing_found_without_a_network() -> None:
    places = Places([], OFFLINE)
    with pytest.raises(NothingFound) as caught:
        places.find("mixture of experts")
    assert "the corpus has no paper on" in caught.value.message
    assert caught.value.message.endswith("; arXiv cannot be reached (ConnectionError)")
    assert (caught.value.where, caught.value.hint) == ("http://x", "Wait.")
    assert places.asked == [("corpus", 2), ("arxiv", "AND"), ("corpus", 2)]


def test_a_failure_of_arxiv_alone_is_an_error() -> None:
    with pytest.raises(SkillFailed) as caught:
        Places([A], OFFLINE).find(source="arxiv")
    assert caught.value is OFFLINE


MIXTURE, EXPERTS, BOTH = (
    paper(f"P{number}", abstract=abstract)
    for number, abstract in enumerate(
        ("A mixture of data", "We ask experts", "A mixture of experts")
    )
)
ALL_FOUR = "sparse large mixture experts"
WIDENED = "no paper has all of sparse, large, mixture, experts; searching for papers with some"


def test_papers_with_some_words_are_not_used_where_one_has_all() -> None:
    places = Places([MIXTURE, EXPERTS], [BOTH])
    assert places.find("papers on mixture of experts") == ["P2"]
    places = Places([BOTH, MIXTURE], [EXPERTS])
    assert places.find("mixture of experts") == ["P2"]
    assert places.notices == []


def test_half_of_the_words_suffice_where_no_paper_has_all() -> None:
    places = Places([MIXTURE, EXPERTS, BOTH], [MIXTURE])
    assert places.find(ALL_FOUR) == ["P2", "P0"]
    assert places.asked == [("corpus", 4), ("arxiv", "AND"), ("corpus", 2), ("arxiv", "OR")]
    assert [notice.startswith(WIDENED) for notice in places.notices] == [True]


@pytest.mark.parametrize("source", ["", "corpus"])
def test_half_of_the_words_in_the_corpus_alone(source: str) -> None:
    places = Places([MIXTURE, BOTH], OFFLINE)
    assert places.find(ALL_FOUR, source=source) == ["P2"]
    assert places.notices[0].startswith(WIDENED)


def test_one_of_two_words_does_not_suffice_in_the_corpus() -> None:
    with pytest.raises(NothingFound, match="no paper on 'mixture of experts'"):
        Places([MIXTURE, EXPERTS], []).find("mixture of experts")
    places = Places([MIXTURE, EXPERTS], [])
    with pytest.raises(NothingFound):
        places.find("mixture of experts", source="corpus")
    # If a topic has two words, the corpus is not searched for papers with only one of them.
    assert places.notices == []


LONG = "Nothing in this sentence is about the subject of the survey at all. " * 4


@pytest.mark.parametrize(
    ("title", "abstract", "expected"),
    [
        ("Planning", LONG, 0.5),  # one of two words is a subject
        ("Plans", f"Agents plan. {LONG}", 0.75),
        ("Agents that plan", LONG, 1.0),
        ("On it", f"Agents plan, and then other agents are planned for. {LONG}", 1.0),
        ("", f"Agents plan. {LONG}", 1.0),  # without a title, only the abstract counts
        ("", "Agents plan.", 1.0),  # every word of a short abstract counts
        ("", LONG, 0.0),
    ],
)
def test_relevance(title: str, abstract: str, expected: float) -> None:
    one = Paper("paper_id", "1", title, abstract)
    assert relevance(one, ["planning", "agents"]) == expected


def test_papers_that_mention_the_topic_in_passing_are_left_out() -> None:
    passing = paper("P", abstract=f"RAG is used. {LONG}")
    about = paper("Q", abstract=f"RAG is used. RAG is studied. {LONG}")
    assert relevant([passing, about], ["RAG"]) == TopicPapers([about], [passing])
    assert relevant([passing, about], ["RAG"], 0.5) == TopicPapers([passing, about], [])
    with pytest.raises(NothingFound, match="1 paper found, but none") as caught:
        relevant([passing], ["RAG"])
    assert "--relevance 0" in caught.value.hint


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
        assert f"https://arxiv.org/abs/{row_of(number)['arxiv_id']}" in survey
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
    more = write_table(workspace.folder / "more.csv", row_of(4), row_of(5))
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
