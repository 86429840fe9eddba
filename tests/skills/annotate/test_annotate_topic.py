"""What a topic is about, and where its papers come from."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from harness.errors import InputError, NothingFound, SkillFailed
from skills.annotate.topic import Source, find_papers, subject_words
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
def test_what_a_topic_is_about(topic: str, words: list[str]) -> None:
    assert subject_words(topic) == words


@pytest.mark.parametrize("topic", ["?!", "", " - "])
def test_a_topic_without_a_word_is_refused(topic: str) -> None:
    with pytest.raises(InputError, match="holds no word"):
        subject_words(topic)


def paper(name: str, *, arxiv_id: str = "", abstract: str = "") -> Paper:
    text = abstract or f"We present {name}."
    return Paper("arxiv_id" if arxiv_id else "paper_id", arxiv_id or name, name, text)


class Places:
    """A corpus and an arXiv that have what they are given, and remember what they were asked."""

    def __init__(self, corpus: list[Paper], arxiv: list[Paper] | Exception) -> None:
        self.corpus, self.arxiv = corpus, arxiv
        self.asked: list[tuple[str, Any]] = []
        self.notices: list[str] = []

    def from_corpus(
        self, words: list[str], limit: int, since: date | None, until: date | None, fewest: int
    ) -> list[Paper]:
        self.asked.append(("corpus", words))
        return [one for one in self.corpus if self.held(one, words) >= fewest]

    @staticmethod
    def held(one: Paper, words: list[str]) -> int:
        known = set(f"{one.abstract} RAG".split())
        return sum(word in known for word in words)

    def from_arxiv(
        self, topic: str, *, limit: int, since: date | None, until: date | None
    ) -> list[Paper]:
        self.asked.append(("arxiv", (topic, limit, since, until)))
        if isinstance(self.arxiv, Exception):
            raise self.arxiv
        return self.arxiv

    def find(
        self,
        topic: str = "Survey of RAG techniques",
        *,
        source: Source | None = None,
        limit: int = 3,
        since: date | None = None,
        until: date | None = None,
    ) -> list[str]:
        found = find_papers(
            topic,
            source=source,
            limit=limit,
            since=since,
            until=until,
            from_corpus=self.from_corpus,
            from_arxiv=self.from_arxiv,
            notice=self.notices.append,
        )
        return [one.title for one in found]


A, B, C, D = (paper(name) for name in "ABCD")
OFFLINE = SkillFailed("arXiv cannot be reached (ConnectionError)", where="http://x", hint="Wait.")


def test_a_corpus_that_has_enough_is_enough() -> None:
    places = Places([A, B, C, D], [])
    assert places.find() == ["A", "B", "C"]
    assert places.asked == [("corpus", ["RAG"])]


def test_arxiv_fills_up() -> None:
    places = Places([A], [B, C, D])
    day = date(2024, 1, 1)
    assert places.find(since=day) == ["A", "B", "C"]
    assert places.asked[1] == ("arxiv", ("Survey of RAG techniques", 3, day, None))
    assert places.notices == []


def test_no_paper_comes_twice() -> None:
    known = paper("known", arxiv_id="2403.00001v1")
    newer = paper("newer", arxiv_id="2403.00001")
    same = paper("same", arxiv_id="2403.00009", abstract="We  present\nA.")
    places = Places([known, A, A], [newer, same, B])
    assert places.find(limit=9) == ["known", "A", "B"]


@pytest.mark.parametrize(("source", "titles"), [("corpus", ["A"]), ("arxiv", ["B"])])
def test_one_place_alone(source: Source, titles: list[str]) -> None:
    places = Places([A], [B])
    assert places.find(source=source) == titles
    assert [place for place, _ in places.asked] == [source]


def test_the_corpus_has_to_do_where_arxiv_fails() -> None:
    places = Places([A], OFFLINE)
    assert places.find() == ["A"]
    assert places.notices == [
        "arXiv cannot be reached (ConnectionError); going on with the 1 paper of the corpus"
    ]


def test_nothing_anywhere_says_where_was_looked() -> None:
    places = Places([], NothingFound("arXiv has no paper on 'RAG'", hint="Try other words."))
    with pytest.raises(NothingFound) as caught:
        places.find()
    assert caught.value.message == (
        "the corpus has no paper on 'Survey of RAG techniques', and arXiv has no paper on 'RAG'"
    )
    assert caught.value.hint == "Try other words."
    with pytest.raises(NothingFound, match="published from 2024-01-01 to 2024-12-31, and arXiv"):
        places.find(since=date(2024, 1, 1), until=date(2024, 12, 31))


def test_nothing_and_no_network_says_both() -> None:
    with pytest.raises(NothingFound) as caught:
        Places([], OFFLINE).find()
    assert "the corpus has no paper on" in caught.value.message
    assert caught.value.message.endswith("and arXiv cannot be reached (ConnectionError)")
    assert (caught.value.where, caught.value.hint) == ("http://x", "Wait.")


def test_arxiv_alone_fails_as_it_does() -> None:
    places = Places([A], OFFLINE)
    with pytest.raises(SkillFailed) as caught:
        places.find(source="arxiv")
    assert caught.value is OFFLINE


def test_the_corpus_alone_may_have_nothing() -> None:
    with pytest.raises(NothingFound, match="the corpus has no paper") as caught:
        Places([], [B]).find(source="corpus")
    assert "--source corpus" in str(caught.value.hint)


def test_dates_the_wrong_way_round_are_refused_before_anybody_is_asked() -> None:
    places = Places([A], [B])
    with pytest.raises(InputError, match="2025-01-01"):
        places.find(since=date(2025, 1, 1), until=date(2024, 1, 1))
    assert places.asked == []


MIXTURE, EXPERTS, BOTH, MANY = (
    paper(f"P{number}", abstract=abstract)
    for number, abstract in enumerate(
        (
            "A mixture of data",
            "We ask experts",
            "A mixture of experts",
            "A sparse mixture of large experts",
        )
    )
)
ALL_FOUR = "sparse large mixture experts"
NO_BETTER = "arXiv has none with all; looking for any"


class Widening(Places):
    """An arXiv that says it widens, as the real search does."""

    def from_arxiv(self, topic: str, **asked: Any) -> list[Paper]:
        self.notices.append(NO_BETTER)
        return super().from_arxiv(topic, **asked)


def test_a_paper_with_some_of_the_words_does_not_keep_arxiv_from_being_asked() -> None:
    places = Places([MIXTURE, EXPERTS], [BOTH])
    assert places.find("papers on mixture of experts", limit=1) == ["P2"]
    assert places.notices == []


def test_what_arxiv_found_by_any_word_does_not_fill_up_what_holds_all() -> None:
    places = Widening([BOTH, MIXTURE], [EXPERTS])
    assert places.find("mixture of experts") == ["P2"]
    assert places.notices == [
        NO_BETTER,
        "going on with the 1 paper of the corpus, with all of the words",
    ]


def test_where_neither_has_all_words_half_of_them_do_and_that_is_said() -> None:
    places = Widening([MIXTURE, EXPERTS, BOTH], [MIXTURE])
    assert places.find(ALL_FOUR) == ["P2", "P0"]
    assert places.notices == [
        NO_BETTER,
        "the corpus has no paper with all of sparse, large, mixture, experts; "
        "taking 1 paper with 2 of them or more",
    ]


def test_half_of_the_words_do_in_the_corpus_alone_and_without_a_network() -> None:
    said = "the corpus has no paper with all of sparse, large, mixture, experts; taking 1 paper"
    places = Places([MIXTURE, BOTH], OFFLINE)
    assert places.find(ALL_FOUR, source="corpus") == ["P2"]
    assert [one.startswith(said) for one in places.notices] == [True]
    assert places.find(ALL_FOUR) == ["P2"]
    assert places.notices[-1].endswith("going on with the 1 paper of the corpus")


def test_nothing_is_widened_where_one_paper_holds_all() -> None:
    places = Places([MANY, BOTH], NothingFound("arXiv has no paper"))
    assert places.find(ALL_FOUR) == ["P3"]
    assert places.find(ALL_FOUR, source="corpus") == ["P3"]


@pytest.mark.parametrize("arxiv", [OFFLINE, NothingFound("arXiv has no paper")])
def test_one_of_two_words_is_nothing(arxiv: SkillFailed) -> None:
    for source in ("corpus", None):
        places = Places([MIXTURE, EXPERTS], arxiv)
        with pytest.raises(NothingFound, match="the corpus has no paper on 'mixture of experts'"):
            places.find("mixture of experts", source=source)  # type: ignore[arg-type]
        assert places.notices == []
