"""The page of a PDF file in headless Chromium: from a move to its place, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pdf_corpus
import pytest
from browser_page import Browser, Page, expect, watched
from served_app import Served, served

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(pdf_corpus.build(tmp_path_factory.mktemp("with-pdf"))) as running:
        yield running


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, app: Served) -> Iterator[Page]:
    with watched(browser, request.param, app.origin) as opened:
        opened.goto(app.entrance("/papers/1"))
        expect(opened.get_by_role("img", name="Page 1")).to_have_js_property("complete", True)
        assert opened.locator(".sheet img").evaluate("one => one.naturalWidth") > 1000
        yield opened


def test_the_keyboard_leads_from_a_move_to_its_place_and_back(page: Page) -> None:
    move = page.locator('[id="move.implication"]')
    move.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Page 1 (Implication)")).to_be_focused()
    page.keyboard.press("Enter")
    highlight = page.get_by_role("link", name="Implication", exact=True)
    expect(highlight).to_be_focused()
    expect(highlight).to_be_in_viewport()
    stroke = "one => getComputedStyle(one.querySelector('rect')).stroke"
    assert highlight.evaluate(stroke) == "rgb(0, 0, 0)"
    page.keyboard.press("Enter")
    expect(move).to_be_focused()
    expect(move).to_be_in_viewport()


def test_a_place_on_another_page_is_reached_and_left(page: Page, app: Served) -> None:
    page.get_by_role("link", name="Page 2 (Limitation)").press("Enter")
    expect(page).to_have_url(f"{app.origin}/papers/1?page=2#place.limitation")
    highlight = page.get_by_role("link", name="Limitation", exact=True)
    expect(highlight).to_be_focused()
    expect(highlight).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator('[id="move.limitation"]')).to_be_focused()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", name="page 3 of 3")).to_be_in_viewport()


def test_a_click_on_the_words_leads_to_the_move(page: Page) -> None:
    line = page.locator('[id="place.claim"] rect').first
    line.scroll_into_view_if_needed()
    line.click(force=True)
    expect(page.locator('[id="move.claim"]')).to_be_in_viewport()
    assert page.url.endswith("#move.claim")


def test_a_move_marks_its_highlight(page: Page) -> None:
    page.locator('[id="move.scope"]').focus()
    expect(page.locator('[id="place.claim"]')).to_contain_class("marked")
    expect(page.locator('[id="place.implication"]')).not_to_contain_class("marked")
    page.locator('[id="place.implication"]').focus()
    expect(page.locator('[id="move.implication"]')).to_contain_class("marked")


def test_the_highlights_lie_over_the_image(page: Page) -> None:
    """The words of the claim begin below the abstract's heading and are inside of the page."""
    image = page.locator(".sheet img").bounding_box()
    first = page.locator('[id="place.claim"] rect').first.bounding_box()
    assert image is not None
    assert first is not None
    assert image["x"] < first["x"] < first["x"] + first["width"] < image["x"] + image["width"]
    assert image["y"] < first["y"] < image["y"] + image["height"] / 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_is_beside_the_moves_or_below_them(page: Page) -> None:
    moves = page.locator(".entries").bounding_box()
    sheet = page.locator(".sheet").bounding_box()
    assert moves is not None
    assert sheet is not None
    if page.viewport_size == DESKTOP:
        assert sheet["x"] >= moves["x"] + moves["width"]
    else:
        assert sheet["y"] >= moves["y"] + moves["height"]


def test_links_work_without_javascript(browser: Browser, app: Served) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto(app.entrance("/papers/1"))
    page.get_by_role("link", name="Page 2 (Limitation)").click()
    expect(page.get_by_role("heading", name="page 2 of 3")).to_be_visible()
    page.get_by_role("link", name="Limitation", exact=True).press("Enter")
    assert page.url.endswith("#move.limitation")
    context.close()
