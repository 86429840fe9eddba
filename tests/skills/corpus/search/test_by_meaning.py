"""Test search by meaning, and its fusion with search by words."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper

from harness.cli.app import App
from harness.testing import assert_refuses, fake_app
from skills.corpus.corpus_store import Database
from skills.corpus.db import store
from skills.corpus.db.connection import default_path
from skills.corpus.outputs import Hits
from skills.corpus.search import by_meaning
from skills.corpus.search.by_meaning import K, fused, search
from skills.corpus.search.query_syntax import By, Query, Years
from skills.corpus.search.vectors import Embedder, complete
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


def found(db: sqlite3.Connection, text: str, by: By = "both", **narrowed: Any) -> Hits:
    return search(Database(db, nanda()), Query(text, by=by, **{"moves": ["method"], **narrowed}))


def ids(result: Hits) -> list[str]:
    return [hit.id.removeprefix("2405.0000") for hit in result.hits]


def test_members_of_both_rankings_come_first() -> None:
    ranked = fused([["a", "b", "c"], ["c", "d"]])
    assert [member for member, _ in ranked] == ["c", "a", "b", "d"]
    assert dict(ranked)["c"] == pytest.approx(1 / (K + 3) + 1 / (K + 1))


def test_a_paraphrase_is_found_that_shares_no_word(filled: sqlite3.Connection) -> None:
    query = "illness recognition by medical personnel"
    assert Database(filled, nanda()).search(Query(query)).hits == []
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
        assert found(filled, "football championship", by).hits == []


def test_moves_with_all_words_come_before_those_with_some(filled: sqlite3.Connection) -> None:
    assert ids(found(filled, "compiler unrolled"))[:2] == ["4", "2"]
    assert ids(found(filled, "the compiler unrolled by nobody"))[:2] == ["4", "2"]


def test_a_phrase_must_be_in_every_hit(filled: sqlite3.Connection) -> None:
    assert ids(found(filled, '"loops of a compiler"')) == ["4"]
    assert ids(found(filled, '"dead code" loops')) == ["2"]
    assert ids(found(filled, '"dead code" loops', "meaning")) == ["2", "4"]


def test_search_is_narrowed_by_move_year_and_category(filled: sqlite3.Connection) -> None:
    assert set(ids(found(filled, QUERY))) == {"1", "3"}
    assert found(filled, QUERY, moves=["scope"]).hits == []
    assert ids(found(filled, QUERY, years=Years(2023))) == ["3"]
    assert ids(found(filled, QUERY, categories=["Q-BIO.qm"])) == ["1"]
    assert found(filled, QUERY, years=Years(1999, 2001)).hits == []
    assert ids(found(filled, "compiler loops", categories=["cs.SE"], years=Years(2024))) == ["4"]


def test_narrowing_that_many_moves_meet(
    filled: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_meaning, "FEW", 1)
    assert ids(found(filled, QUERY, "meaning", years=Years(2023))) == ["3"]
    monkeypatch.setattr(by_meaning, "BY_SIGNS", 9)
    monkeypatch.setattr(by_meaning, "BY_VECTORS", 3)
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


ITEMS = [
    annotated(paper(1), claim="Bread rises.", method="Yeast ferments the dough of bread."),
    annotated(paper(2), claim="Loaves grow.", method="Dough is fermented by yeasts."),
    annotated(paper(3), claim="Bread rises.", method="Dense vectors retrieve passages."),
    annotated(paper(4), claim="Wages fall.", method="Not stated."),
]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    made = fake_app(tmp_path)
    corpus_of(default_path(made.settings), ITEMS)
    yield made
    made.close()


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def none(name: str, package: str | None = None) -> Any:
        return None if name == "wordllama" else find(name, package)

    Embedder.load.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", none)


def data(app: App, line: str) -> Any:
    return json.loads(app.dispatch(line).result.as_json())


def notices(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined,no-any-return]


def methods(app: App, line: str) -> dict[str, str]:
    hits = data(app, line)["hits"]
    return {hit["arxiv_id"][-1]: hit["found_by"] for hit in hits if hit["move"] == "method"}


def test_search_is_by_words_and_meaning_by_default(app: App) -> None:
    assert methods(app, "/corpus search 'sourdough baking'")["1"] == "meaning"
    assert methods(app, "/corpus search yeast") == {"1": "both", "2": "both"}
    assert methods(app, "/corpus search yeast --words") == {"1": "words", "2": "words"}
    assert methods(app, "/corpus search 'a yeast in bread' --like")["1"] == "meaning"
    assert "by words alone" not in notices(app)
    assert_refuses(app, "/corpus search 'sourdough baking' --words", "no move contains", code=1)
    assert_refuses(app, "/corpus search xyzzy --like", "no move is similar to xyzzy", code=1)
    assert_refuses(app, "/corpus search yeast --like --words", "exclude each other")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("search xyzzy", "contains xyzzy. No move is similar in meaning"),
        ("search '\"bread rises slowly\"'", "without the quotes, moves with some"),
        ("search xyzzy --like", "Without --like, a search also finds"),
        ("search xyzzy --words", "All words must be in one move (endings do not matter)."),
    ],
)
def test_a_search_without_hits_names_what_may_have_some(app: App, line: str, hint: str) -> None:
    assert_refuses(app, f"/corpus {line}", hint, code=1)


def test_without_the_extra_words_alone_are_searched(app: App, without_extra: None) -> None:
    assert methods(app, "/corpus search yeast") == {"1": "words", "2": "words"}
    assert notices(app).count('-m pip install "nanda-harness[meaning]"`') == 1
    data(app, "/corpus search yeast --words")
    assert notices(app).count("by words alone") == 1
    for line in ("search yeast --like", "similar 2405.00001"):
        assert_refuses(app, f"/corpus {line}", "wordllama", "nanda-harness[meaning]")


def test_a_folder_of_parts_is_searched_by_words(app: App) -> None:
    Path("parts").mkdir()
    app.dispatch("/corpus export parts/a.parquet")
    app.dispatch("/corpus index parts")
    assert methods(app, "/corpus search yeast --db parts") == {"1": "words", "2": "words"}
    for line in ("search yeast --like", "similar 2405.00001"):
        assert_refuses(app, f"/corpus {line} --db parts", "parts: a folder of parts has no vectors")


def test_papers_near_by_a_move_or_by_all(app: App) -> None:
    [first, *_] = found = data(app, "/corpus similar 2405.00001 --move method")["papers"]
    assert first["arxiv_id"] == "2405.00002"
    assert list(first["near"]) == ["method"]
    assert first["text"] == "Dough is fermented by yeasts."
    assert "2405.00001" not in [paper["arxiv_id"] for paper in found]
    assert data(app, "/corpus similar 2405.00001 --move claim")["papers"][0]["near"]["claim"] == 1
    assert data(app, "/corpus similar 2405.00001 --limit 1")["papers"][0]["arxiv_id"][-1] in "23"
    text = app.dispatch("/corpus similar 1 --move method").result.text
    assert text.splitlines()[0].split() == ["paper", "year", "title", "similar", "in", "text"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("similar 2405.9", "has no paper 2405.9"),
        ("similar", "needs an argument"),
        ("similar 2405.00004 --move method", "does not state its method"),
        ("similar 1 --move methods", "no move 'methods'. Did you mean method"),
        ("similar 1 --move method --move claim", "takes one --move"),
        ("similar 1 --like", "--like does not apply to similar"),
    ],
)
def test_rejected_commands(app: App, line: str, message: str) -> None:
    assert_refuses(app, f"/corpus {line}", message)
