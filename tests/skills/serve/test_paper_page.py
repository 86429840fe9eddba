"""The page of a paper, and what becomes of hostile texts."""

from __future__ import annotations

import html

import browsed_corpus
import httpx
import pytest
from page_elements import Elements

from skills.corpus import listing


def test_it_shows_the_paper_with_its_moves_and_their_sentences(client: httpx.Client) -> None:
    elements = Elements(client.get("/papers/12").content)
    assert "Keeping Ferries 12" in elements.shown
    [sentence] = elements.sources["move.evidence"]
    assert sentence.startswith("On 22 harbours it saves 12,500 litres")
    assert elements.facts["resolved"] == "smaller-keeper"


def test_facts_lead_to_the_papers_that_share_them(client: httpx.Client) -> None:
    links = Elements(client.get("/papers/12").content).values("href")
    for address in ("/papers?year=2024", "/papers?category=cs.RO", "/papers?model=smaller-keeper"):
        assert address in links
        assert client.get(address).status_code == 200


def test_versions_are_listed_and_compared_word_by_word(client: httpx.Client) -> None:
    number = browsed_corpus.TWICE
    answer = client.get(f"/papers/{number}")
    assert "Keeper5 plans how Beehives move." in html.unescape(Elements(answer.content).shown)
    [compare] = [one for one in Elements(answer.content).values("href") if "against" in one]
    compared = client.get(f"/papers/{number}{compare.partition('#')[0]}")
    assert "From earlier to keeper" in compared.text
    assert "plans how <del>Ferries drift</del><ins>Beehives move</ins>." in compared.text
    old = compare.partition("against=")[2].partition("#")[0]
    earlier = client.get(f"/papers/{number}?version={old}")
    assert "not the current annotation" in earlier.text
    assert "Keeper5 plans how Ferries drift." in Elements(earlier.content).shown


def test_a_paper_without_an_annotation_shows_why(client: httpx.Client) -> None:
    failed = client.get(f"/papers/{browsed_corpus.PAPERS + 1}")
    assert "The annotation failed: The answer is cut off." in failed.text
    assert "Claim: &lt;b&gt;" in failed.text
    missing = client.get(f"/papers/{browsed_corpus.PAPERS + 2}")
    assert "There is no annotation by the framework" in missing.text


def test_highlights_of_people_in_zotero_are_listed(client: httpx.Client) -> None:
    elements = Elements(client.get(f"/papers/{browsed_corpus.HOSTILE}").content)
    shown = " ".join(elements.shown.split())
    assert "Highlights in Zotero Scope ada · p. 3 · deleted Evidence A passage" in shown
    assert "ada · p. 3 Open in Zotero" in shown
    assert "Read it again. Open in Zotero" in shown
    links = [one for one in elements.values("href") if one.startswith("zotero:")]
    place = "zotero://open-pdf/groups/77/items/PDFA2345?annotation"
    assert links == [f"{place}=MINE2345", f"{place}=MINE2347"]
    assert "Highlights in Zotero" not in client.get("/papers/12").text


@pytest.mark.parametrize("path", ["/papers/999999", "/papers/0", "/papers/99999999999999999999"])
def test_a_paper_that_does_not_exist(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "No such paper" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/papers?model=model+%3C%2Fscript%3E",
        "/papers?q=onerror",
        "/papers?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/papers?where=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/papers?year=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/papers?sort=%3Cscript%3E",
        f"/papers/{browsed_corpus.HOSTILE}",
        f"/papers/{browsed_corpus.HOSTILE}?version=%3Cscript%3E&against=%3Cscript%3E",
        "/papers?sort=oldest",
    ],
)
def test_no_text_becomes_markup(client: httpx.Client, path: str) -> None:
    elements = Elements(client.get(path).content)
    assert "img" not in elements.tags
    assert elements.tags.count("script") <= 2
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert "\u202e" not in elements.shown
    sources = {one for one in elements.values("src") if not one.startswith("/static/")}
    assert not sources


pytest.importorskip("wordllama", reason="needs the extra meaning")


def test_the_nearest_papers_are_listed_with_what_is_near(client: httpx.Client) -> None:
    text = client.get("/papers/12/similar").text
    assert "Similar to Keeping Ferries 12" in text
    assert "Claim 0.9" in text
    assert 'href="/papers/12"' not in text.partition("<ol")[2]
    by_claim = client.get("/papers/12/similar?move=claim").text
    assert "Evidence 0." not in by_claim


def test_what_cannot_be_compared_is_stated(client: httpx.Client) -> None:
    answer = client.get(f"/papers/{browsed_corpus.PAPERS + 2}/similar")
    assert answer.status_code == 400
    assert "has no annotation" in answer.text
    assert client.get("/papers/99999/similar").status_code == 404


def test_many_missing_vectors_are_added_by_and_by(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.corpus.corpus_store import Database

    def complete(_: Database, tick: object, check: object) -> None:
        assert callable(check)
        check()

    monkeypatch.setattr(Database, "complete_vectors", complete)
    monkeypatch.setattr(listing, "PATIENCE", 0.0)
    for path in ("/papers/12/similar", "/papers?q=boats&by=meaning"):
        answer = client.get(path)
        assert answer.status_code == 400
        assert "each time, more vectors are computed" in answer.text
