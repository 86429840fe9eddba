"""The page of the PDF file beside the moves of a paper, over a real socket."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pdf_corpus
import pytest
from page_elements import Elements
from pdf_papers import PdfPaper, scan
from repository import ROOT
from served_app import Served, served
from starlette.responses import Response

from skills.serve import paper_page, pdf_pages
from skills.serve.guard import POLICY

IMAGE = "/papers/1/pages/1.png"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(pdf_corpus.build(tmp_path_factory.mktemp("with-pdf"))) as running:
        yield running


def shown(app: Served, path: str = "/papers/1") -> str:
    with app.client() as client:
        return client.get(path).text


def test_the_page_has_a_highlight_for_each_passage(client: httpx.Client) -> None:
    elements = Elements(client.get("/papers/1").content)
    assert "paper <b>.pdf, page 1 of 3" in elements.shown
    links = elements.values("href")
    # Claim and scope are stated by the same words.
    assert links.count("#move.claim") == 1
    assert links.count("#place.claim") == 2
    assert "?page=2#place.limitation" in links
    assert "Page 2 (Limitation)" in elements.shown
    assert {"place.claim", "move.claim", "move.scope", "place.implication"} <= {
        *elements.values("id")
    }
    assert "move.claim move.scope" in elements.values("data-moves")
    assert elements.texts["title"][1:] == ["Claim, Scope", "Implication"]
    assert not elements.values("style")  # the content security policy forbids them
    assert {"#e69f00", "#f0e442", "#cc79a7"} <= {*elements.values("fill")}


def test_the_place_of_a_section_is_on_its_page(client: httpx.Client) -> None:
    elements = Elements(client.get("/papers/1?page=2").content)
    assert elements.texts["title"][1:] == ["Limitation"]
    links = elements.values("href")
    assert {"?page=1#place.claim", "#place.limitation", "#move.limitation"} <= {*links}
    assert {"?page=1#sheet", "?page=2#sheet", "?page=3#sheet"} <= {*links}
    assert "place.claim" not in elements.values("id")


def test_other_pages_can_be_shown(client: httpx.Client) -> None:
    elements = Elements(client.get("/papers/1?page=3").content)
    assert "page 3 of 3" in elements.shown
    assert "Next" not in elements.shown
    assert elements.texts["title"][1:] == []


def test_a_version_keeps_its_page(client: httpx.Client) -> None:
    links = Elements(client.get("/papers/1?version=1&page=2").content).values("href")
    assert "?version=1&page=1#place.claim" in links


def test_an_image_is_kept(
    app: Served, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.get(IMAGE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.content.startswith(b"\x89PNG")
    monkeypatch.setattr(app.state.pdfs._process, "read", lambda *_, **__: pytest.fail("again"))
    assert client.get(IMAGE).content == answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/papers/1/pages/0.png",
        "/papers/1/pages/4.png",
        f"/papers/1/pages/{'9' * 3900}.png",
        f"/papers/{'9' * 3900}/pages/1.png",
        "/papers/2/pages/1.png",
        "/papers/1/pages/-1.png",
        "/papers/1/pages/1.pdf",
        "/papers/1/pages/%2e%2e%2f%2e%2e%2fcorpus.db.png",
        "/papers/1/pages/..%2f..%2f..%2fetc%2fpasswd.png",
    ],
)
def test_an_address_that_leads_to_no_page(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=4",
        "page=-1",
        f"page={'9' * 3900}",
        "page=%D9%A9",
        "page=../../x.pdf",
        "page=%3Cscript%3E&version=%3Cscript%3E",
        "page=%ED%A0%80&version=%ED%A0%80",
        "path=/etc/passwd",
    ],
)
def test_hostile_parameters_show_the_first_page(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/papers/1?{query}")
    assert answer.status_code == 200
    elements = Elements(answer.content)
    assert "page 1 of 3" in elements.shown
    assert elements.tags.count("script") == 2
    [source] = [one for one in elements.values("src") if not one.startswith("/static/")]
    assert client.get(source).content == client.get(IMAGE).content


def test_an_image_needs_a_session(app: Served) -> None:
    with httpx.Client(trust_env=False) as stranger:
        assert stranger.get(app.origin + IMAGE).status_code == 401


def missing(path: Path) -> None:
    path.unlink()


def other(path: Path) -> None:
    text = "Tides of invented harbours are predicted by nobody, and that will not change soon. " * 3
    PdfPaper(abstract=text, sections=()).write(path)


def encrypted(path: Path) -> None:
    PdfPaper(password="secret").write(path)


def scanned(path: Path) -> None:
    path.write_bytes(scan())


def no_pdf(path: Path) -> None:
    path.write_text("A text.")


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A second application, whose PDF file the tests change."""
    with served(pdf_corpus.build(tmp_path_factory.mktemp("changing"))) as running:
        yield running


@pytest.fixture
def pdf(changing: Served) -> Path:
    return pdf_corpus.write_pdf(changing.state.database.with_name(pdf_corpus.NAME))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (missing, "no such file"),
        (other, "none of the passages is on its pages"),
        (encrypted, "is encrypted and needs a password"),
        (scanned, "has no text layer"),
        (no_pdf, "is not a PDF file"),
    ],
)
def test_a_file_that_cannot_be_shown_is_stated(
    changing: Served, pdf: Path, change: Callable[[Path], None], reason: str
) -> None:
    change(pdf)
    with changing.client() as client:
        elements = Elements(client.get("/papers/1").content)
        status = client.get(IMAGE).status_code
    assert "No page of the PDF file is shown: " in elements.shown
    assert reason in elements.shown
    assert f"{pdf}" in elements.shown
    assert pdf_corpus.FIRST in elements.shown
    assert "img" not in elements.tags
    assert status == (200 if change in (other, scanned) else 404)


def test_a_page_is_rendered_again_only_if_the_file_has_changed(
    changing: Served, pdf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[Any] = []
    whole = paper_page.page

    def page(*given: Any, **context: Any) -> Response:
        rendered.append(given)
        return whole(*given, **context)

    monkeypatch.setattr(paper_page, "page", page)
    with changing.client() as client:
        before = client.get(IMAGE).content
        assert len({client.get("/papers/1").text for _ in range(3)}) == 1
        assert len(rendered) == 1
        PdfPaper(title="Another title of the paper", columns=1).write(pdf)
        assert "page 1 of 1" in client.get("/papers/1").text
        assert client.get(IMAGE).content != before


def test_a_passage_that_is_not_found_is_named(changing: Served, pdf: Path) -> None:
    PdfPaper(sections=(), columns=1).write(pdf)  # the section with the limitation is gone
    text = shown(changing)
    assert "Not found on its pages: Limitation" in text
    assert 'id="place.claim"' in text


@pytest.mark.parametrize("name", ["crash", "exit", "hang"])
def test_a_file_that_ends_the_process_does_not_end_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "support" / "pdf"))
    monkeypatch.setattr(pdf_pages, "WORKER", "failing_worker")
    monkeypatch.setattr(pdf_pages, "SECONDS", 1.0)
    pdf = pdf_corpus.write_pdf(tmp_path / f"{name}.pdf")
    with served(pdf_corpus.build(tmp_path, pdf)) as app:
        text = html.unescape(shown(app))
        assert "No page of the PDF file is shown: " in text
        assert f"{pdf}: cannot be read: " in text
        # The failure is kept: the next request does not wait.
        monkeypatch.setattr(app.state.pdfs._process, "read", lambda *_, **__: pytest.fail("again"))
        assert html.unescape(shown(app)) == text


def test_the_number_of_kept_results_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf_pages, "KEPT", 2)
    with served(pdf_corpus.build(tmp_path)) as app, app.client() as client:
        for page in (1, 2, 1, 3):
            assert client.get(f"/papers/1/pages/{page}.png").status_code == 200
        kept = app.state.pdfs._answers
        assert [name for _, name in kept] == ["1", "3"], "the most recently used"
        assert all(image.startswith(b"\x89PNG") for image in kept.values())


def test_a_paper_without_a_pdf_file_has_no_image(tmp_path: Path) -> None:
    with served(pdf_corpus.build(tmp_path, Path("papers.csv"))) as app, app.client() as client:
        text = client.get("/papers/1").text
        assert "PDF" not in text
        assert "Page 1" not in text
        assert client.get(IMAGE).status_code == 404


def test_the_process_ends_with_the_server(tmp_path: Path) -> None:
    with served(pdf_corpus.build(tmp_path)) as app:
        shown(app)
        process = app.state.pdfs._process._process
        assert process is not None
        assert process.poll() is None
    assert process.poll() == 0
