"""Two evaluations side by side: the paired difference, and the papers won, lost and invalid."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from evaluate_workspace import Workspace
from page_elements import Elements
from served_app import served


@pytest.fixture
def client(space: Workspace) -> Iterator[httpx.Client]:
    settings = dataclasses.replace(space.app.settings, shipped_registry=space.folder / "none.yaml")
    with served(space.corpus, settings=settings) as app, app.client() as opened:
        yield opened


def keys(client: httpx.Client) -> dict[str, str]:
    """Return the keys of the models by their files."""
    options = re.findall(r'<option value="([^"]+)"[^>]*>([^<]+)', client.get("/compare").text)
    return {title.partition(" · ")[2]: key for key, title in options}


def address(client: httpx.Client, first: str, other: str, rest: str = "") -> str:
    known = keys(client)
    return f"/compare/evaluations?a={known[first]}&b={known[other]}{rest}"


def papers(answer: httpx.Response) -> list[str]:
    return re.findall("<caption>Annotations of (2401.0*\\d+)", answer.text)


def test_saved_evaluations_are_listed_without_baselines(client: httpx.Client) -> None:
    assert list(keys(client)) == ["bad.json", "good.json"]
    [table] = Elements(client.get("/compare").content).tables.values()
    assert [row[:3] for row in table[1:]] == [
        ["producer", "bad.json", "12"],
        ["producer", "good.json", "12"],
    ]


def test_the_difference_is_paired_and_papers_are_won_or_lost(client: httpx.Client) -> None:
    answer = client.get(address(client, "good.json", "bad.json"))
    said = " ".join(Elements(answer.content).texts[".verdict"][0].split())
    assert "Over 12 papers, the paired difference of agreement is +0." in said
    assert ": 2 won, 9 tied, 0 lost" in said
    swapped = client.get(address(client, "bad.json", "good.json")).text
    assert "0 won, 9 tied, 2 lost" in swapped


def test_papers_are_shown_by_how_they_ended(client: httpx.Client) -> None:
    here = address(client, "good.json", "bad.json")
    # The paper with the largest difference comes first.
    assert papers(client.get(f"{here}&show=won")) == ["2401.00002", "2401.00001"]
    assert papers(client.get(f"{here}&show=invalid")) == ["2401.00003"]
    assert papers(client.get(f"{here}&show=lost")) == []
    first = client.get(here)
    [following] = re.findall('rel="next" class="more" href="([^"]+)"', first.text)
    assert papers(first) + papers(client.get(html.unescape(following))) == [
        f"2401.{number:05}" for number in range(1, 13)
    ]


def test_a_side_without_an_annotation_is_named_and_not_compared(client: httpx.Client) -> None:
    answer = client.get(address(client, "good.json", "bad.json", "&show=invalid"))
    assert "No annotation by bad: its answers were invalid." in answer.text
    assert "<del>" not in answer.text
    assert "2 won, 9 tied, 0 lost, and 1 with an invalid annotation." in " ".join(
        Elements(answer.content).texts[".verdict"][0].split()
    )


def test_a_repaired_annotation_is_compared(client: httpx.Client, space: Workspace) -> None:
    content = json.loads((space.folder / "good.json").read_text())
    content["annotators"][0]["by_paper"][0]["valid"] = False
    (space.folder / "repaired.json").write_text(json.dumps(content))
    answer = client.get(address(client, "repaired.json", "bad.json"))
    assert ": 2 won, 9 tied, 0 lost" in " ".join(answer.text.split())


def test_annotations_are_compared_word_by_word(client: httpx.Client) -> None:
    text = client.get(address(client, "good.json", "bad.json", "&show=won")).text
    assert '<td class="words" dir="auto">Method 1 sorts papers.</td>' in text
    assert "<ins>Heaps &lt;b&gt;are&lt;/b&gt; high.</ins>" in text
    assert re.search('<a href="/papers/\\d+">2401.00001</a>', text)  # the paper has no title


@pytest.mark.parametrize("query", ["", "?a=1.0&b=2.0", "?a=../../etc/passwd&b=/etc/passwd"])
def test_only_listed_files_are_opened(client: httpx.Client, query: str) -> None:
    assert client.get(f"/compare/evaluations{query}").status_code == 404


def test_other_files_of_the_folder_are_passed_over(client: httpx.Client, space: Workspace) -> None:
    (space.folder / "a.json").write_text('{"annotators": []}')
    (space.folder / "b.json").write_bytes(b"\xff")
    (space.folder / "c.json").write_text("[" * 100_000)
    assert list(keys(client)) == ["bad.json", "good.json"]


def test_files_without_scores_show_their_figures(client: httpx.Client, space: Workspace) -> None:
    content = json.loads((space.folder / "bad.json").read_text())
    for one in content["annotators"]:
        del one["score_by_paper"]
    (space.folder / "old.json").write_text(json.dumps(content))
    text = client.get(address(client, "good.json", "old.json")).text
    assert "no paper counts as won or lost" in text
    assert "<ins>Heaps" in text
    for one in content["annotators"]:
        one.pop("by_paper", None)
    (space.folder / "older.json").write_text(json.dumps(content))
    text = client.get(address(client, "good.json", "older.json")).text
    assert "no common papers" in text
    assert "first answer valid" in text
