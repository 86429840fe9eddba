"""The subject of a topic, and where its papers come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.errors import InputError, NothingFound, SkillFailed
from skills.annotate.survey.relevance import Found, relevance, relevant
from skills.annotate.survey.topic import find_papers, subject_words
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
    with pytest.raises(InputError, match="contains no word"):
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


@pytest.mark.parametrize(("source", "titles"), [("corpus", ["A"]), ("arxiv", ["B"])])
def test_one_source_alone(source: str, titles: list[str]) -> None:
    places = Places([A], [B])
    assert places.find(source=source) == titles
    assert [place for place, _ in places.asked] == [source]


def test_the_corpus_is_used_when_arxiv_fails() -> None:
    places = Places([A], OFFLINE)
    assert places.find() == ["A"]
    assert places.notices == [
        "arXiv cannot be reached (ConnectionError); continuing with 1 paper of the corpus"
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
    assert places.notices == []  # there is no search for papers with some of two words


LONG = "Nothing in this sentence is about the subject of the survey at all. " * 4


@pytest.mark.parametrize(
    ("title", "abstract", "expected"),
    [
        ("Planning", LONG, 0.5),  # one of two words is a subject
        ("Plans", f"Agents plan. {LONG}", 0.75),
        ("Agents that plan", LONG, 1.0),
        ("On it", f"Agents plan, and then other agents are planned for. {LONG}", 1.0),
        ("", f"Agents plan. {LONG}", 1.0),  # without a title, all is in the abstract
        ("", "Agents plan.", 1.0),  # a short abstract mentions nothing in passing
        ("", LONG, 0.0),
    ],
)
def test_relevance(title: str, abstract: str, expected: float) -> None:
    one = Paper("paper_id", "1", title, abstract)
    assert relevance(one, ["planning", "agents"]) == expected


def test_papers_that_mention_the_topic_in_passing_are_left_out() -> None:
    passing = paper("P", abstract=f"RAG is used. {LONG}")
    about = paper("Q", abstract=f"RAG is used. RAG is studied. {LONG}")
    assert relevant([passing, about], ["RAG"]) == Found([about], [passing])
    assert relevant([passing, about], ["RAG"], 0.5) == Found([passing, about], [])
    with pytest.raises(NothingFound, match="1 paper found, but none") as caught:
        relevant([passing], ["RAG"])
    assert "--relevance 0" in caught.value.hint
