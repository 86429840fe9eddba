"""From a list of papers to their review."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from reviewed_corpus import PAPERS, build, gold_of, reviewed
from reviewing import row, write_rows
from served_app import served

from skills.serve.state import ReviewOf


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with reviewed(build(tmp_path)) as app, app.client() as opened:
        yield opened


def link(answer: httpx.Response) -> str:
    """Return the address of the link "Review these", "" without one."""
    assert answer.status_code == 200
    found = re.search(r'<a href="([^"]*)">Review these', answer.text)
    return html.unescape(found[1]) if found else ""


@pytest.mark.parametrize(
    "query",
    [
        "year=2024",
        "category=cs.RO",
        "state=annotated",
        "move.limitation=stated",
        "move.limitation=not+stated&where=year%3D2024..",
        "q=Keeper3",
        "q=%22planner+that+moves%22",
        "q=2505.00001",
        "q=Keeper3&where=claim%3Dstated&move.claim=stated",
        "",
    ],
)
def test_the_papers_of_a_list_are_reviewed(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/papers?{query}")
    listed = int(re.search(r'id="results-title">(\d+) paper', answer.text)[1])
    assert 0 < listed <= PAPERS
    form = dict(httpx.URL(link(answer)).params)
    for name, value in form.items():
        assert f'name="{name}" value="{value}"' in html.unescape(client.get(link(answer)).text)
    assert f"1 of {listed} " in client.post("/review", data={"name": "Ada", **form}).text


@pytest.mark.parametrize("query", ["q=ferries&by=meaning", "year=2024&year=2025", "year=2019"])
def test_what_a_review_cannot_select_has_no_link(client: httpx.Client, query: str) -> None:
    assert link(client.get(f"/papers?{query}")) == ""


def test_a_review_of_a_table_has_no_link(tmp_path: Path) -> None:
    database = build(tmp_path)
    table = write_rows(tmp_path / "agent.csv", row(1))
    with served(database, review=ReviewOf(table, gold_of(database))) as app, app.client() as client:
        assert link(client.get("/papers")) == ""


def test_the_annotation_of_a_page_is_reviewed(client: httpx.Client) -> None:
    page = client.get("/papers/3")
    [address] = re.findall('<a href="([^"]+)">Review this annotation', page.text)
    title = re.search('<h1 dir="auto">([^<]+)', page.text)[1]
    without_name = client.get(address)
    assert f'name="words" value="{address.partition("=")[2]}"' in without_name.text
    client.post("/review", data={"name": "Ada"})
    assert f'<h1 dir="auto">{title}</h1>' in client.get(address).text
