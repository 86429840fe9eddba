"""Every page by axe-core, in light and dark, on a phone and on a large screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import browsed_corpus
import pytest
from browser_page import Browser, Page, expect
from served_app import Served, served

from skills.nanda.framework import nanda
from skills.serve import server

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core, of dev")

Colours = Literal["light", "dark"]
PAGES = (
    "/papers",
    "/papers?q=dawn&year=2024&move.limitation=stated",
    "/papers?where=nonsense",
    f"/papers/{browsed_corpus.TWICE}?version=5&against=6",
    f"/papers/{browsed_corpus.HOSTILE}",
    f"/papers/{browsed_corpus.PAPERS + 1}",
    "/jobs",
    "/compare",
    "/nothing",
)


@pytest.fixture(scope="module", params=[("light", 400), ("dark", 1600)])
def page(request: pytest.FixtureRequest, browser: Browser, app: Served) -> Iterator[Page]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened = context.new_page()
    opened.goto(app.entrance())
    yield opened
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious(page: Page, app: Served, path: str) -> None:
    page.goto(app.origin + path)
    check(page)


@pytest.mark.parametrize(("colours", "width"), [("dark", 400), ("light", 1600)])
def test_the_pages_of_the_demo(
    browser: Browser, tmp_path: Path, colours: Colours, width: int
) -> None:
    server.write_demo(tmp_path / "demo.db", nanda())
    context = browser.new_context(color_scheme=colours, viewport={"width": width, "height": 900})
    with served(tmp_path / "demo.db", workspace=server.DEMO) as app:
        opened = context.new_page()
        opened.goto(app.entrance())
        paths = ("/jobs", "/jobs/1", "/compare", "/compare/curations/1", "/review")
        for path in (*paths, "/papers/30", "/papers/30?page=2"):
            opened.goto(app.origin + path)
            check(opened)
        opened.goto(f"{app.origin}/papers/2")
        opened.get_by_role("link", name="Compare with this version").click()
        expect(opened.get_by_role("heading", name="From nanda-annotator")).to_be_visible()
        check(opened)
        opened.keyboard.press("?")
        expect(opened.get_by_role("dialog")).to_be_visible()
        check(opened)
    context.close()


def check(page: Page) -> None:
    found = axe.Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["target"] for node in one["nodes"]][:5])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
