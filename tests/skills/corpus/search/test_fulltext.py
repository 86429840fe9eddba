"""Test search: queries, hits, ranking, narrowing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from corpus_papers import annotated, paper

from harness.errors import InputError
from skills.corpus.corpus_store import Database
from skills.corpus.db import store
from skills.corpus.db.facets import word
from skills.corpus.db.papers import save
from skills.corpus.outputs import Hits
from skills.corpus.search.fulltext import keys_with, papers_about
from skills.corpus.search.query_syntax import Query, Years, parse_years, tokens
from skills.nanda.framework import nanda


def search(db: sqlite3.Connection, text: str, **narrowed: Any) -> Hits:
    return Database(db, nanda()).search(Query(text, **narrowed))


def ids(db: sqlite3.Connection, text: str, **narrowed: Any) -> list[str]:
    found = search(db, text, **narrowed)
    return [hit.id.removeprefix("2405.0000") for hit in found.hits]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dense retrieval", ["dense", "retrieval"]),
        ('"dense retrieval" models', ["dense retrieval", "models"]),
        ("NOT x* -y (z) a:b ^c", ["NOT", "x*", "-y", "(z)", "a:b", "^c"]),
        ('5" display', ['5"', "display"]),
        ('an open "quote', ["an", "open", '"quote']),
        ("* - a \x00 \u200b", ["a"]),
        ('"" a', ["a"]),
    ],
)
def test_words_and_phrases_of_a_query(text: str, found: list[str]) -> None:
    assert tokens(text) == found


@pytest.mark.parametrize("text", ["", "  ", "* - :", '""', "''", "\x00"])
def test_query_without_a_word_is_rejected(text: str) -> None:
    with pytest.raises(InputError, match="contains no word"):
        tokens(text)


@pytest.mark.parametrize(
    "text",
    [
        "NOT",
        "AND OR",
        "x* y",
        "-ledger",
        "text:ledger",
        "{",
        "(",
        ")",
        "NEAR(a b)",
        "a\x00b",
        "'",
        "\ud800a",
    ],
)
def test_fts5_operators_are_text(db: sqlite3.Connection, text: str) -> None:
    store.save(
        db,
        annotated(paper(1), claim=f"It says {text.encode('ascii', 'ignore').decode()}."),
        nanda(),
    )
    if any(map(str.isalnum, text)):
        search(db, text)
    else:
        with pytest.raises(InputError):
            search(db, text)


def test_all_words_must_be_in_one_move(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1), method="Retrieved passages rank plans."), nanda())
    store.save(db, annotated(paper(2), method="A plan.", claim="Retrieval works."), nanda())
    assert ids(db, "retrieval plan") == ["1"]
    assert ids(db, "RETRIEVE") == ["2", "1"]
    assert ids(db, '"rank plans"') == ["1"]
    assert ids(db, '"plans rank"') == []
    assert ids(db, "plans rank") == ["1"]


def test_facet_words_are_not_text(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1)), nanda())
    assert ids(db, word("year", 2024)) == []
    assert ids(db, 'ledger"s') == [], "a quote within a word is text, too"


def test_best_match_comes_first_and_is_marked(db: sqlite3.Connection) -> None:
    long = "Long talk of a great many other things mentions retrieval once."
    store.save(db, annotated(paper(1), method="Retrieval over retrieval."), nanda())
    store.save(db, annotated(paper(2), method=long), nanda())
    first, second = search(db, "retrieval").hits
    assert (first.id, first.title, first.year, first.move) == (
        paper(1).id,
        "Paper 1",
        2024,
        "method",
    )
    assert first.snippet == "**Retrieval** over **retrieval**."
    assert first.text == "Retrieval over retrieval."
    assert first.score > second.score > 0
    assert first.model_dump()["arxiv_id"] == paper(1).id
    assert "id_field" not in first.model_dump()
    store.save(
        db, annotated(replace(paper(3, id_field="paper_id"), id="7"), method="Sorting."), nanda()
    )
    assert search(db, "sorting").hits[0].model_dump()["paper_id"] == "7"


def test_only_current_annotations_are_found(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1), claim="An older ledger."), nanda())
    store.save(db, annotated(paper(1), "other", claim="Nothing of it."), nanda())
    assert ids(db, "ledger") == []
    other = nanda().model_copy(update={"name": "another"})
    store.save(db, annotated(paper(2), framework=other, claim="A ledger."), other)
    assert ids(db, "ledger") == []


def test_narrowed_search(db: sqlite3.Connection) -> None:
    known = [("2022-01-01", "cs.CL"), ("2023", "cs.SE, cs.CL"), ("2024-05", "cs.AI"), ("", "cs.CL")]
    for number, (published, categories) in enumerate(known, start=1):
        of = paper(number, published=published, categories=categories)
        store.save(db, annotated(of, claim="A ledger.", method=f"Ledger {number}."), nanda())
    assert sorted(ids(db, "ledger", moves=["claim"])) == ["1", "2", "3", "4"]
    assert len(ids(db, "ledger", moves=["claim", "method"])) == 8
    assert sorted(ids(db, "ledger", moves=["claim"], categories=["CS.cl"])) == ["1", "2", "4"]
    assert ids(db, "ledger", moves=["claim"], categories=["cs.SE", "cs.AI"]) == ["3", "2"]
    found = search(db, "ledger", moves=["claim"], categories=["cs.CL"], years=Years(2023, None))
    assert [hit.year for hit in found.hits] == [2023]
    assert found.without_year == 1
    assert search(db, "ledger", years=Years(1990, 1999)).hits == []
    assert search(db, "nowhere", years=Years(2023, None)).without_year == 0


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", 2024, 2024),
        ("2023..2025", 2023, 2025),
        ("2024..", 2024, None),
        ("..2022", None, 2022),
    ],
)
def test_ranges_of_years(text: str, first: int | None, last: int | None) -> None:
    assert parse_years(text) == Years(first, last)


@pytest.mark.parametrize(
    "text", ["", "..", "24", "2024-2025", "2024...2025", "2025..2024", "..x", "20242025"]
)
def test_invalid_ranges_of_years(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_years(text)
    assert caught.value.hint


def test_a_damaged_record_is_found_without_its_confidence(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper(1), method="Ledgers are kept."), nanda())
    db.execute("UPDATE annotations SET record = '{'")
    [hit] = search(db, "ledgers").hits
    assert hit.confidence is None


def test_papers_about_a_topic_by_number_of_words(db: sqlite3.Connection) -> None:
    for number, title in enumerate(("Agents", "Tool agents", "Tool using agents plan", "Cats"), 1):
        save(db, paper(number, f"Abstract {number}.", title=title))
    assert papers_about(db, ["tool", "agents", "using", "nets"], 10) == []
    whole = papers_about(db, ["tool", "agents", "using", "plans"], 10)
    assert [of.title for of in whole] == ["Tool using agents plan"]
    found = papers_about(db, ["tool", "agents", "using", "plans"], 10, fewest=2)
    assert [of.title for of in found] == ["Tool using agents plan", "Tool agents"]
    assert found[0].source == {"kind": "corpus"}
    assert [of.title for of in papers_about(db, ["agent"], 1)] == ["Agents"]
    assert papers_about(db, ["nothing", "-"], 10) == []
    assert papers_about(db, ["*"], 10) == []


def test_papers_with_all_words_come_first(db: sqlite3.Connection) -> None:
    save(db, paper(1, "Ledger ledger ledger ledger.", title="Ledger"))
    save(db, paper(2, f"{'Many other words stand here. ' * 20} A ledger of oracles.", title="Long"))
    assert [of.title for of in papers_about(db, ["ledger", "oracle"], 5, fewest=1)] == [
        "Long",
        "Ledger",
    ]


def test_papers_about_a_topic_by_date(db: sqlite3.Connection) -> None:
    dates = ("2023-12-31", "2024-05-17T01:57:12Z", "2024", "", "n.d.", "May 2024")
    for number, published in enumerate(dates, 1):
        save(db, paper(number, f"Ledger {number}.", published=published))

    def found(since: date | None, until: date | None) -> set[str]:
        return {of.published for of in papers_about(db, ["ledger"], 9, since, until)}

    assert found(None, None) == set(dates)
    assert found(date(2024, 1, 1), None) == {*dates[1:3]}
    assert found(date(2024, 5, 17), date(2024, 5, 17)) == {*dates[1:3]}
    assert found(date(2024, 5, 18), None) == {"2024"}
    assert found(None, date(2023, 12, 31)) == {"2023-12-31"}


def test_other_date_formats_are_compared_as_dates(db: sqlite3.Connection) -> None:
    for number, published in enumerate(("2024/05/17", "20240517", "2024.0", "2024-5-7"), 1):
        save(db, paper(number, f"Ledger {number}.", published=published))

    def found(since: date | None, until: date | None) -> str:
        about = papers_about(db, ["ledger"], 9, since, until)
        return " ".join(sorted(of.published for of in about))

    assert found(date(2024, 5, 8), None) == "2024.0 2024/05/17 20240517"
    assert found(None, date(2024, 5, 16)) == "2024-5-7 2024.0"
    assert found(date(2024, 5, 17), date(2024, 5, 17)) == "2024.0 2024/05/17 20240517"
    assert found(date(2025, 1, 1), None) == ""


def test_abstract_under_several_ids_is_one_paper(db: sqlite3.Connection) -> None:
    for number in range(1, 4):
        save(db, paper(number, "A ledger.", title="Ledger"))
    save(db, paper(4, "Another ledger, of some more words."))
    assert [of.id for of in papers_about(db, ["ledger"], 2)] == [paper(1).id, paper(4).id]


def test_later_arxiv_version_is_found_by_topic(db: sqlite3.Connection) -> None:
    for abstract in ("A ledger, first version.", "A ledger, second version."):
        save(db, paper(1, abstract))
        save(db, paper(2, f"{abstract} Elsewhere.", id_field="id"))
    found = [(of.id_field, of.abstract) for of in papers_about(db, ["ledger"], 9)]
    assert len(found) == 3
    assert ("arxiv_id", "A ledger, first version.") not in found


TEXTS = [
    ("a", "On Ships", "A planner moves ferries."),
    ("b", "On Rails", "Trains were timed at dawn."),
    ("b", "", "It moves planners."),
]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("ships FERRY", {"a"}),
        ("planner", {"a", "b"}),
        ('"planner moves"', {"a"}),
        ("rails planners", set()),
        ("rails OR ships", set()),
    ],
)
def test_all_words_and_phrases_are_in_one_text(words: str, keys: set[str]) -> None:
    assert keys_with(TEXTS, words) == keys


def test_there_must_be_a_word() -> None:
    with pytest.raises(InputError, match="contains no word"):
        keys_with(TEXTS, " - ")
