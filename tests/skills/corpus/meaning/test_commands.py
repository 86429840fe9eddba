"""Test search by meaning and /corpus similar through the application."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper

from harness.cli.app import App
from harness.testing import assert_refuses, fake_app
from skills.corpus.db.connection import default_path

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
    assert_refuses(app, "/corpus search xyzzy --like", "no move is near to xyzzy", code=1)
    assert_refuses(app, "/corpus search yeast --like --words", "exclude each other")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("search xyzzy", "contains xyzzy. No move is near to it"),
        ("search '\"bread rises slowly\"'", "without the quotes, moves with some"),
        ("search xyzzy --like", "Without --like, moves with some"),
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
    assert text.splitlines()[0].split() == ["paper", "year", "title", "near", "by", "text"]


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
