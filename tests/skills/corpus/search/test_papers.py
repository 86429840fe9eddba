"""Test the search of papers by title and abstract."""

from __future__ import annotations

import sqlite3
from datetime import date

from corpus_papers import paper

from skills.corpus.db.papers import save
from skills.corpus.search.papers import papers_about


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
