"""Test search by meaning, and its fusion with search by words."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from corpus_papers import annotated, paper

from skills.corpus.db import store
from skills.corpus.meaning import nearest
from skills.corpus.meaning.embedding import Embedder
from skills.corpus.meaning.hybrid import K, fused, search
from skills.corpus.meaning.vectors import complete
from skills.corpus.search import fulltext
from skills.corpus.search.fulltext import Found, Tables
from skills.corpus.search.query_syntax import By, Query, Years
from skills.nanda.framework import nanda

METHODS = (
    ("Physicians diagnose illnesses from X-ray pictures.", "2022", "q-bio.QM"),
    ("A compiler removes dead code from loops.", "2023", "cs.PL"),
    ("Doctors read scans.", "2024", "cs.CV"),
    ("The loops of a compiler are unrolled by hand.", "2024", "cs.PL, cs.SE"),
)
QUERY = "medical doctors recognize diseases in radiology images"


@pytest.fixture
def filled(db: sqlite3.Connection) -> sqlite3.Connection:
    for number, (method, year, categories) in enumerate(METHODS, start=1):
        of = paper(number, published=year, categories=categories)
        store.save(db, annotated(of, method=method), nanda())
    complete(db, Embedder.load())
    return db


def found(db: sqlite3.Connection, text: str, by: By = "both", **narrowed: Any) -> Found:
    return search(Tables(db, nanda()), Query(text, by=by, **{"moves": ["method"], **narrowed}))


def ids(result: Found) -> list[str]:
    return [hit.id.removeprefix("2405.0000") for hit in result.hits]


def test_members_of_both_rankings_come_first() -> None:
    ranked = fused([["a", "b", "c"], ["c", "d"]])
    assert [member for member, _ in ranked] == ["c", "a", "b", "d"]
    assert dict(ranked)["c"] == pytest.approx(1 / (K + 3) + 1 / (K + 1))


def test_a_paraphrase_is_found_that_shares_no_word(filled: sqlite3.Connection) -> None:
    query = "illness recognition by medical personnel"
    assert fulltext.search(Tables(filled, nanda()), Query(query)).hits == ()
    first = found(filled, query, "meaning").hits[0]
    assert (first.text, first.found_by) == (METHODS[0][0], "meaning")
    assert 0.38 < first.score < 1
    assert "**" not in first.snippet


def test_each_hit_names_what_it_was_found_by(filled: sqlite3.Connection) -> None:
    by = {hit.text: hit for hit in found(filled, QUERY).hits}
    assert by[METHODS[2][0]].found_by == "both"
    assert by[METHODS[2][0]].snippet == "**Doctors** read scans."
    assert by[METHODS[0][0]].found_by == "meaning"
    hits = found(filled, "loops of a compiler").hits
    assert hits[0].snippet == "The **loops** of a **compiler** are unrolled by hand."
    words = found(filled, "read loops unrolled").hits
    assert {hit.text: hit.found_by for hit in words}[METHODS[2][0]] == "words"
    assert METHODS[1][0] not in by


def test_words_that_no_move_is_about_find_nothing(filled: sqlite3.Connection) -> None:
    for by in ("both", "meaning"):
        assert found(filled, "football championship", by).hits == ()


def test_moves_with_all_words_come_before_those_with_some(filled: sqlite3.Connection) -> None:
    assert ids(found(filled, "compiler unrolled"))[:2] == ["4", "2"]
    assert ids(found(filled, "the compiler unrolled by nobody"))[:2] == ["4", "2"]


def test_a_phrase_must_be_in_every_hit(filled: sqlite3.Connection) -> None:
    assert ids(found(filled, '"loops of a compiler"')) == ["4"]
    assert ids(found(filled, '"dead code" loops')) == ["2"]
    assert ids(found(filled, '"dead code" loops', "meaning")) == ["2", "4"]


def test_search_is_narrowed_by_move_year_and_category(filled: sqlite3.Connection) -> None:
    assert set(ids(found(filled, QUERY))) == {"1", "3"}
    assert found(filled, QUERY, moves=["scope"]).hits == ()
    assert ids(found(filled, QUERY, years=Years(2023))) == ["3"]
    assert ids(found(filled, QUERY, categories=["Q-BIO.qm"])) == ["1"]
    assert found(filled, QUERY, years=Years(1999, 2001)).hits == ()
    assert ids(found(filled, "compiler loops", categories=["cs.SE"], years=Years(2024))) == ["4"]


def test_narrowing_that_many_moves_meet(
    filled: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "FEW", 1)
    assert ids(found(filled, QUERY, "meaning", years=Years(2023))) == ["3"]
    monkeypatch.setattr(nearest, "BY_SIGNS", 9)
    monkeypatch.setattr(nearest, "BY_VECTORS", 3)
    assert ids(found(filled, QUERY, "meaning", years=Years(2023), moves=[])) == ["3"]


def test_a_replaced_annotation_is_not_found(filled: sqlite3.Connection) -> None:
    of = paper(1, published="2022", categories="q-bio.QM")
    store.save(filled, annotated(of, "other", method="Bread is baked at noon."), nanda())
    complete(filled, Embedder.load())
    assert "1" not in ids(found(filled, QUERY))
    assert ids(found(filled, "baked loaves", "meaning")) == ["1"]


def test_the_limit_is_that_of_hits(filled: sqlite3.Connection) -> None:
    assert len(found(filled, "compiler loops", limit=1).hits) == 1
    assert len(found(filled, "compiler loops", "meaning", limit=1).hits) == 1


def test_a_damaged_record_is_found_by_meaning(filled: sqlite3.Connection) -> None:
    filled.execute("UPDATE annotations SET record = '{'")
    assert found(filled, QUERY, "meaning").hits[0].confidence is None
