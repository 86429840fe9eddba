"""The page of papers: search, conditions, facets with counts, orders and pages, in the address."""

from __future__ import annotations

import contextlib
import html
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import browsed_corpus
import httpx
import pytest
from page_elements import Elements
from reviewed_corpus import PAPERS, build, reviewed
from reviewing import row, write_rows
from served_app import served
from starlette.requests import Request
from starlette.responses import Response

from skills.serve import papers_page

TOTAL = browsed_corpus.PAPERS + 2


def numbers(answer: httpx.Response) -> list[int]:
    """Return the numbers of the papers on a page, in order."""
    assert answer.status_code == 200, answer.text
    return [int(one) for one in re.findall(r'<h2 dir="auto"><a href="/papers/(\d+)"', answer.text)]


def total(answer: httpx.Response) -> int:
    return int(re.search(r'id="results-title">([\d,]+) paper', answer.text)[1].replace(",", ""))


def counts(answer: httpx.Response) -> dict[str, int]:
    """Return the counts of facets by the addresses that choose their values."""
    pattern = r'<a href="([^"]+)"[^>]*>(?:<bdi>)?[^<]*(?:</bdi>)?</a> <span class="count">([\d,]+)'
    found = re.findall(pattern, answer.text)
    return {html.unescape(address): int(count.replace(",", "")) for address, count in found}


def test_it_lists_all_papers_with_what_they_are(client: httpx.Client) -> None:
    answer = client.get("/papers")
    assert total(answer) == TOTAL
    assert len(numbers(answer)) == 50
    [paper, *_] = re.findall(r"<li><h2 .*?</li>", client.get("/papers?q=Keeper12").text, re.S)
    for text in ("Keeping Ferries 12", "2405.00012", "cs.AI, cs.RO", "Björk Sailor"):
        assert text in paper
    assert "Keeper12 plans how Ferries move." in paper
    assert "<mark>Keeper12</mark>" in paper


@pytest.mark.parametrize(
    "query",
    [
        "year=2024",
        "year=2024&year=2025",
        "category=cs.RO",
        "model=smaller-keeper",
        "move.limitation=stated",
        "move.limitation=not+stated&year=2025",
        "state=failed",
        "state=not+annotated",
        "q=beehives&move.comparison=stated",
        "where=limitation%3Dstated+year%3E%3D2025",
    ],
)
def test_a_count_is_the_number_of_papers_behind_its_link(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/papers?{query}")
    found = counts(answer)
    assert len(found) > 2
    for address, count in list(found.items())[::4]:
        chosen = client.get(address)
        name_and_value = set(httpx.URL(address).params.multi_items())
        if len(name_and_value) > len(httpx.QueryParams(query).multi_items()):
            facets = [name for name, _ in name_and_value]
            if len(facets) == len(set(facets)):  # otherwise, a facet has two values
                assert total(chosen) == count, address


def test_facets_agree_with_the_conditions_of_corpus_filter(client: httpx.Client) -> None:
    for facets, conditions in (
        ("year=2024", "year=2024"),
        ("category=cs.RO&move.limitation=stated", "category=cs.RO limitation=stated"),
        ("move.comparison=not+stated&model=keeper", "comparison=unstated model=keeper"),
    ):
        by_facet = client.get(f"/papers?{facets}")
        by_condition = client.get("/papers", params={"where": conditions})
        assert numbers(by_facet) == numbers(by_condition) != []
        assert total(by_facet) == total(by_condition)


@pytest.mark.parametrize("sort", ["added", "newest", "oldest", "support", "unsupported", "best"])
@pytest.mark.parametrize("query", ["", "q=dawn", "move.limitation=stated"])
def test_pages_show_each_paper_once_forwards_and_backwards(
    client: httpx.Client, sort: str, query: str
) -> None:
    if sort == "best" and "q=" not in query:
        query += "&q=harbours"
    answer = client.get(f"/papers?{query}&sort={sort}")
    expected, pages = total(answer), [numbers(answer)]
    while following := re.search('rel="next" class="more" href="([^"]+)"', answer.text):
        answer = client.get(html.unescape(following[1]))
        pages.append(numbers(answer))
    together = [number for page in pages for number in page]
    assert len(together) == len(set(together)) == expected
    for page in reversed(pages[:-1]):
        [previous] = re.findall('rel="prev" class="more" href="([^"]+)"', answer.text)
        answer = client.get(html.unescape(previous))
        assert numbers(answer) == page
    assert 'rel="prev"' not in answer.text


def test_orders_sort(client: httpx.Client, database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:
        years = dict(db.execute("SELECT id, year FROM papers"))
    newest = [years[n] or 0 for n in numbers(client.get("/papers?sort=newest"))]
    assert newest == sorted(newest, reverse=True)
    oldest = [years[n] or 9999 for n in numbers(client.get("/papers?sort=oldest"))]
    assert oldest == sorted(oldest)
    assert numbers(client.get("/papers"))[:2] == [TOTAL, TOTAL - 1]
    [best, *_] = numbers(client.get('/papers?q="Keeper40"'))
    assert "Keeper40" in client.get(f"/papers/{best}").text


def test_words_are_found_in_moves_too(client: httpx.Client) -> None:
    claim = "Keeper5 plans how"
    assert numbers(client.get("/papers", params={"q": f'"{claim}"'})) == [browsed_corpus.TWICE]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("where=colour%3Dred", "there is no move or field"),
        ("q=...", "no word to search for"),
        ("sort=size", "cannot be sorted by"),
        ("after=nonsense", "the address of this page is invalid"),
        ("before=[]", "the address of this page is invalid"),
    ],
)
def test_what_is_not_valid_is_refused_beside_the_form(
    client: httpx.Client, query: str, reason: str
) -> None:
    answer = client.get(f"/papers?{query}")
    assert answer.status_code == 400
    assert reason in html.unescape(answer.text)
    [name, _] = query.split("=", 1)
    if name in ("q", "where"):
        assert str(httpx.QueryParams(query)[name]) in Elements(answer.content).values("value")


def test_unknown_parameters_are_ignored(client: httpx.Client) -> None:
    assert total(client.get("/papers?move.colour=stated&utm=1")) == TOTAL


def test_without_a_paper_it_says_so(client: httpx.Client) -> None:
    assert "No paper matches." in client.get("/papers?q=nobody&year=2024").text


def test_papers_are_found_by_meaning_where_it_is_installed(client: httpx.Client) -> None:
    pytest.importorskip("wordllama", reason="needs the extra meaning")
    query = {"q": "how ferries are planned to move", "by": "meaning"}
    answer = client.get("/papers", params=query)
    [first, *_] = numbers(answer)
    assert "Ferries" in client.get(f"/papers/{first}").text
    assert numbers(client.get("/papers", params={"q": query["q"]})) == []  # search by words
    [year] = [address for address in counts(answer) if "year=2024" in address]
    assert "by=meaning" in year
    assert total(client.get(year)) == counts(answer)[year]


def test_a_value_of_a_facet_without_papers_is_no_link(client: httpx.Client) -> None:
    text = client.get("/papers").text
    assert 'aria-label="Claim stated"' in text
    assert 'aria-label="Claim not stated"' not in text
    assert '<span class="soft">not stated</span> <span class="count">0</span>' in text


@pytest.fixture
def reviewing_client(tmp_path: Path) -> Iterator[httpx.Client]:
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
def test_the_papers_of_a_list_are_reviewed(reviewing_client: httpx.Client, query: str) -> None:
    answer = reviewing_client.get(f"/papers?{query}")
    listed = int(re.search(r'id="results-title">(\d+) paper', answer.text)[1])
    assert 0 < listed <= PAPERS
    form = dict(httpx.URL(link(answer)).params)
    for name, value in form.items():
        assert f'name="{name}" value="{value}"' in html.unescape(
            reviewing_client.get(link(answer)).text
        )
    assert f"1 of {listed} " in reviewing_client.post("/review", data={"name": "Ada", **form}).text


@pytest.mark.parametrize("query", ["q=ferries&by=meaning", "year=2024&year=2025", "year=2019"])
def test_what_a_review_cannot_select_has_no_link(
    reviewing_client: httpx.Client, query: str
) -> None:
    assert link(reviewing_client.get(f"/papers?{query}")) == ""


def test_a_review_of_a_table_has_no_link(tmp_path: Path) -> None:
    database = build(tmp_path)
    table = write_rows(tmp_path / "agent.csv", row(1))
    with (
        served(database, table=table) as app,
        app.client() as reviewing_client,
    ):
        assert link(reviewing_client.get("/papers")) == ""


def test_the_annotation_of_a_page_is_reviewed(reviewing_client: httpx.Client) -> None:
    page = reviewing_client.get("/papers/3")
    [address] = re.findall('<a href="([^"]+)">Review this annotation', page.text)
    title = re.search('<h1 dir="auto">([^<]+)', page.text)[1]
    without_name = reviewing_client.get(address)
    assert f'name="words" value="{address.partition("=")[2]}"' in without_name.text
    reviewing_client.post("/review", data={"name": "Ada"})
    assert f'<h1 dir="auto">{title}</h1>' in reviewing_client.get(address).text


def test_a_page_is_rendered_once_until_the_corpus_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    whole = papers_page.page

    def page(request: Request, *given: Any, **context: Any) -> Response:
        rendered.append(f"{request.url.path}?{request.url.query}")
        return whole(request, *given, **context)

    monkeypatch.setattr(papers_page, "page", page)
    database = browsed_corpus.build(tmp_path / "corpus.db")
    with served(database) as app, app.client() as client:
        rendered.clear()
        first = client.get("/papers?q=Keeper12")
        with ThreadPoolExecutor(8) as pool:
            again = list(pool.map(client.get, ["/papers?q=Keeper12"] * 20))
        assert {answer.text for answer in again} == {first.text}
        assert first.headers["content-type"] == again[0].headers["content-type"]
        assert rendered == ["/papers?q=Keeper12"]
        assert numbers(client.get("/papers?q=Keeper13")) != numbers(first)
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            db.execute("UPDATE papers SET title = 'Renamed' WHERE title LIKE '%Ferries 12'")
        assert "Renamed" in client.get("/papers?q=Keeper12").text
        assert client.get("/papers?where=nonsense").status_code == 400
