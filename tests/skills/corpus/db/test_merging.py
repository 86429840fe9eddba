"""Test that rows of one paper become one, and are split again."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from corpus_papers import annotated

from skills.corpus.corpus_store import Database
from skills.corpus.db import merging, papers, reads, store
from skills.corpus.db.rows import members
from skills.corpus.listing import Listing, Selection
from skills.corpus.records import Failure
from skills.nanda.framework import nanda
from skills.nanda.paper import IdField, Paper

TITLE = "Planning for Agents in Noisy Warehouses"


def paper(
    paper_id: str,
    id_field: IdField = "id",
    *,
    abstract: str = "We test a ledger. It finds faults.",
    published: str = "2024",
    **source: str,
) -> Paper:
    return Paper(
        id_field,
        paper_id,
        TITLE,
        abstract,
        {"kind": "table", "path": "t.csv", **source},
        authors="Anna Müller, Wei Wang",
        published=published,
    )


def decided(db: sqlite3.Connection) -> list[tuple[int, int, str, str]]:
    return [(pair.paper.row, pair.other.row, pair.relation, pair.rule) for pair in reads.pairs(db)]


def current(db: sqlite3.Connection) -> set[str]:
    """Return the models of the current annotations, and check the flags of their moves."""
    rows = db.execute("SELECT id, model FROM annotations WHERE current").fetchall()
    moves = db.execute("SELECT DISTINCT annotation_id FROM moves WHERE current")
    assert {row["annotation_id"] for row in moves} == {row["id"] for row in rows}
    return {row["model"] for row in rows}


def test_a_common_doi_makes_one_paper_with_one_current_annotation(db: sqlite3.Connection) -> None:
    store.save(db, annotated(paper("a", doi="10.1234/X")), nanda())
    other = paper("b", abstract="Another wording.", doi="https://doi.org/10.1234/x")
    store.save(db, annotated(other, "other"), nanda())
    assert decided(db) == [(1, 2, "merged", "doi")]
    assert current(db) == {"other"}
    assert Database(db, nanda()).statistics().papers == 1
    for wanted in ("a", "b", "1", "10.1234/x", "doi:10.1234/X"):
        [found] = reads.find(db, wanted)
        assert found.paper.id == "b"
        assert found.identifiers == {"doi": "10.1234/x"}
    store.save(db, annotated(paper("a", doi="10.1234/X"), "third"), nanda())
    assert current(db) == {"third"}


def test_split_restores_both_and_is_remembered(db: sqlite3.Connection) -> None:
    for name, abstract in (("a", "One."), ("b", "Two.")):
        store.save(db, annotated(paper(name, abstract=abstract, doi="10.1234/x"), name), nanda())
    assert current(db) == {"b"}
    assert decided(db) == [(1, 2, "merged", "doi")]
    merging.separate(db, 1)
    assert current(db) == {"a", "b"}
    assert Database(db, nanda()).statistics().papers == 2
    papers.save(db, paper("a", abstract="One.", doi="10.1234/x", pmid="5"))
    papers.save(db, paper("b", abstract="Two.", doi="10.1234/x", pmid="5"))
    assert decided(db) == [(1, 2, "split", "doi")]
    merging.separate(db, 1)
    assert decided(db) == [(1, 2, "split", "doi")]


def test_a_third_row_does_not_join_what_was_split(db: sqlite3.Connection) -> None:
    for name in ("a", "b"):
        papers.save(db, paper(name, doi="10.1234/x"))
    merging.separate(db, 2)
    papers.save(db, paper("c", doi="10.1234/x"))
    assert members(db, 3) == [1, 3]
    assert members(db, 2) == [2]


def test_a_row_that_was_joined_through_a_third_is_split_too(db: sqlite3.Connection) -> None:
    papers.save(db, paper("a", doi="10.1234/x"))
    papers.save(db, Paper("id", "b", "", "Text.", {"pmid": "5"}))
    papers.save(db, paper("c", doi="10.1234/x", pmid="5"))
    assert members(db, 1) == [1, 2, 3]
    merging.separate(db, 2)
    assert members(db, 2) == [2]
    assert members(db, 1) == [1, 3]
    assert (1, 2, "split", "") in decided(db)


def test_preprint_and_published_version_are_linked(db: sqlite3.Connection) -> None:
    preprint = paper("2405.00001", "arxiv_id")
    store.save(db, annotated(preprint, "one"), nanda())
    store.save(db, annotated(paper("b", doi="10.1234/x", venue="Annals"), "two"), nanda())
    assert decided(db) == [(1, 2, "linked", "title, first author, year")]
    assert current(db) == {"one", "two"}
    # A record without identifiers is merged with one of the two, and does not join them.
    papers.save(db, paper("c"))
    assert members(db, 1) == [1, 3]
    assert decided(db)[-1][:3] == (2, 3, "linked")
    # A record with both identifiers joins them.
    papers.save(db, paper("d", doi="10.1234/x", arxiv_id="2405.00001v2"))
    assert members(db, 1) == [1, 2, 3, 4]
    assert len(current(db)) == 1


def test_a_title_does_not_join_papers_whose_identifiers_differ(db: sqlite3.Connection) -> None:
    papers.save(db, paper("a", doi="10.1234/x"))
    papers.save(db, paper("b"))
    papers.save(db, paper("c", doi="10.1234/y"))
    assert decided(db) == [
        (1, 2, "merged", "title, first author, year"),
        (2, 3, "linked", "title, first author, year"),
    ]


def test_a_paper_is_compared_again_when_more_is_known(db: sqlite3.Connection) -> None:
    papers.save(db, paper("a", doi="10.1234/x"))
    papers.save(db, Paper("id", "b", "", "Text."))
    assert decided(db) == []
    papers.save(db, paper("b", abstract="Text.", doi="10.1234/x"))
    assert decided(db) == [(1, 2, "merged", "doi")]


def test_a_failure_is_none_if_the_paper_is_annotated_under_another_id(
    db: sqlite3.Connection,
) -> None:
    failure = Failure(paper("a", doi="10.1234/x"), "InvalidReply", "It is empty.", True)
    store.fail(db, failure, "key", request={})
    assert len(list(reads.failures(db))) == 1
    store.save(db, annotated(paper("b", doi="10.1234/x")), nanda())
    assert list(reads.failures(db)) == []


def test_annotations_of_other_frameworks_are_shown_too(db: sqlite3.Connection) -> None:
    other = nanda().model_copy(update={"name": "other"})
    store.save(db, annotated(paper("a", doi="10.1234/x")), nanda())
    store.save(db, annotated(paper("b", doi="10.1234/x"), framework=other), other)
    assert [found.paper.id for found in reads.find(db, "10.1234/x")] == ["a", "b"]


def test_rows_that_a_third_row_merges_are_listed_as_one_paper(db: sqlite3.Connection) -> None:
    def row(number: int, title: str, **source: str) -> Paper:
        return replace(paper(f"p{number}", abstract=f"Text {number}.", **source), title=title)

    rows = [row(1, "Noisy warehouses, planned by agents", doi="10.1234/x"), row(2, TITLE)]
    rows.append(row(3, TITLE, doi="10.1234/x"))
    for number, one in enumerate(rows, start=1):
        assert papers.save(db, one) == number
    assert members(db, 1) == [1, 2, 3]
    assert (1, 2) not in {pair[:2] for pair in decided(db)}
    listing = Listing(Database(db, nanda()), Selection())
    assert [one.row_id for one in listing.page().papers] == [1]

    store.fail(db, Failure(rows[0], "InvalidReply", "", True, ""), "key", request={})
    assert [failure.paper.id for failure in reads.failures(db)] == ["p1"]
    store.save(db, annotated(rows[1]), nanda())
    assert [one.row_id for one in listing.page().papers] == [2]
    assert [*reads.failures(db)] == []
