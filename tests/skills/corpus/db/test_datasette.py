"""Test that datasette serves the database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper

ITEMS = [
    annotated(paper(1), limitation="Not stated.", method="Dense retrieval of plans."),
    annotated(paper(2, published="2022-01-01"), method="It is done by hand.", claim="Ask owls."),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of(tmp_path_factory.mktemp("corpus") / "corpus.db", ITEMS)


def ask(corpus: Path, *paths: str) -> list[Any]:
    """Return the JSON responses of datasette to these requests."""
    datasette = pytest.importorskip("datasette.app", reason="datasette is not installed")

    async def answers() -> list[Any]:
        served = datasette.Datasette([str(corpus)])
        await served.invoke_startup()
        found = []
        for path in paths:
            response = await served.client.get(path)
            assert response.status_code == 200, response.text
            is_json = response.headers["content-type"].startswith("application/json")
            found.append(response.json() if is_json else response.text)
        return found

    return asyncio.run(answers())


def test_tables_are_listed_with_full_text(corpus: Path) -> None:
    [listed] = ask(corpus, "/corpus.json")
    tables = {table["name"]: table for table in listed["tables"] if not table["hidden"]}
    assert set(tables) == {
        "papers",
        "runs",
        "annotations",
        "moves",
        "failures",
        "ballots",
        "votes",
        "verdicts",
        "judge_forms",
        "calibrations",
        "measures",
        "reviews",
        "review_leases",
        "review_drafts",
        "embedding",
        "vectors",
        "vector_blocks",
        "identifiers",
        "duplicates",
        "awaited",
        "lookups",
        "zotero_highlights",
        "_migrations",
    }
    assert tables["papers"]["fts_table"] == "papers_fts"
    assert tables["moves"]["fts_table"] == "moves_fts"
    assert tables["moves"]["count"] == 16
    assert tables["moves"]["primary_keys"] == ["id"]
    joined = {key["other_table"] for key in tables["moves"]["foreign_keys"]["outgoing"]}
    assert joined == {"papers", "annotations"}


def test_moves_are_filtered_counted_and_searched(corpus: Path) -> None:
    filtered, counted, searched, page = ask(
        corpus,
        "/corpus/moves.json?_shape=array&move=limitation&stated=1",
        "/corpus/moves.json?_facet=move&_facet=stated&_size=0",
        "/corpus/moves.json?_shape=array&_search=retrieval+plans",
        "/corpus/moves?_search=plans&_facet=move",
    )
    assert [row["paper_id"] for row in filtered] == [2]
    facets = counted["facet_results"]
    assert {one["value"]: one["count"] for one in facets["stated"]["results"]} == {1: 15, 0: 1}
    assert len(facets["move"]["results"]) == 8
    assert [row["text"] for row in searched] == ["Dense retrieval of plans."]
    assert "Dense retrieval of plans." in page


def test_papers_are_searched_and_counted_by_year(corpus: Path) -> None:
    searched, counted = ask(
        corpus,
        "/corpus/papers.json?_shape=array&_search=oracles",
        "/corpus/papers.json?_facet=year&_facet=category&_size=0",
    )
    assert [row["source_id"] for row in searched] == [item.paper.id for item in ITEMS]
    years = counted["facet_results"]["year"]["results"]
    assert {one["value"]: one["count"] for one in years} == {2024: 1, 2022: 1}
