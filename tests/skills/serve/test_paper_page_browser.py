"""The pages of the corpus in headless Chromium: what a reader does with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browsed_corpus
import pytest
from browser_page import Browser, Page, expect, watched
from served_app import Served, served

from skills.corpus.db import runs, store
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import nanda


@pytest.fixture
def page(browser: Browser, app: Served) -> Iterator[Page]:
    with watched(browser, {"width": 1280, "height": 900}, app.origin) as opened:
        opened.goto(app.entrance("/papers"))
        yield opened


def test_the_token_does_not_stay_in_the_address(page: Page, app: Served) -> None:
    assert page.url == f"{app.origin}/papers"
    page.reload()
    expect(page.locator("h1")).to_have_text(f"{browsed_corpus.PAPERS + 2} papers")
    page.go_back()
    assert "token" not in page.url


def test_a_search_is_narrowed_by_facets_and_kept_in_the_address(page: Page) -> None:
    page.get_by_role("searchbox").fill("dawn")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(f"{browsed_corpus.PAPERS} papers")
    page.get_by_role("region", name="Year").get_by_role("link", name="2025").click()
    expect(page.locator("h1")).to_have_text("40 papers")
    page.get_by_role("link", name="Limitation stated", exact=True).click()
    expect(page.locator("h1")).to_have_text("8 papers")
    page.get_by_label("Order").select_option("oldest")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("h1")).to_have_text("8 papers")  # the facets are kept
    titles = page.locator(".papers h2").all_text_contents()
    page.goto(page.url)
    assert page.locator(".papers h2").all_text_contents() == titles
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("h1")).to_have_text(f"{browsed_corpus.PAPERS + 2} papers")


def test_a_move_marks_its_sentence_and_a_sentence_its_moves(page: Page, app: Served) -> None:
    page.goto(f"{app.origin}/papers/13")
    move = page.locator("[data-move='move.evidence']")
    place = page.locator("[data-moves~='move.evidence']").first
    for show in (move.hover, move.focus):
        show()
        expect(place).to_contain_class("marked")
        page.mouse.move(0, 0)
        page.locator("#main").focus()
        expect(place).not_to_contain_class("marked")
    for show in (place.hover, place.focus):
        show()
        expect(move).to_contain_class("marked")
        page.mouse.move(0, 0)
        page.locator("#main").focus()
        expect(move).not_to_contain_class("marked")


def test_a_chosen_move_stays_marked(page: Page, app: Served) -> None:
    page.goto(f"{app.origin}/papers/13")
    move = page.locator("[data-move='move.evidence']")
    place = page.locator("[data-moves~='move.evidence']").first
    move.press("Enter")
    page.locator("#main").focus()
    expect(move).to_have_attribute("aria-pressed", "true")
    expect(place).to_contain_class("marked")
    move.press("Enter")
    page.locator("#main").focus()
    expect(place).not_to_contain_class("marked")


def test_keys_reach_the_search_and_the_papers(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("Keeper3 j")
    expect(page.get_by_role("searchbox")).to_have_value("Keeper3 j")
    page.locator("#main").focus()
    links = page.locator(".papers h2 a")
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        expect(links.nth(place)).to_be_focused()
    title = links.nth(1).text_content()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(title or "")


def test_a_phone_shows_the_papers_before_the_facets(browser: Browser, app: Served) -> None:
    with watched(browser, {"width": 400, "height": 800}, app.origin) as page:
        page.goto(app.entrance("/papers"))
        expect(page.locator(".papers h2").first).to_be_in_viewport()
        page.get_by_text("Facets").click()
        expect(page.get_by_role("link", name="2025")).to_be_visible()


def test_the_progress_of_a_job_is_shown_on_every_page(browser: Browser, tmp_path: Path) -> None:
    path = browsed_corpus.build(tmp_path / "corpus.db")
    with served(path) as app, watched(browser, {"width": 1280, "height": 900}, app.origin) as page:
        page.goto(app.entrance("/papers"))
        expect(page.locator("#live")).to_be_hidden()
        with open_corpus(path) as db:
            run = runs.start(db, skill="annotate", source="a.csv", model="m", settings={"due": 9})
            store.save(db, browsed_corpus.annotated(301), nanda(), run)
            expect(page.locator("#live")).to_have_text("/annotate a.csv: 1 of 9 done")
            store.save(db, browsed_corpus.annotated(302), nanda(), run)
            expect(page.locator("#live")).to_have_text("/annotate a.csv: 2 of 9 done")
            page.locator("#live").click()
            expect(page.locator("[data-name='done']")).to_have_text("2")
            store.save(db, browsed_corpus.annotated(303), nanda(), run)
            expect(page.locator("[data-name='done']")).to_have_text("3")
            runs.finish(db, run, "done", {})
        expect(page.locator("[data-name='state']")).to_have_text("done")
        page.goto("about:blank")


def test_hostile_texts_run_nothing(page: Page, app: Served) -> None:
    for path in (f"/papers/{browsed_corpus.HOSTILE}", "/papers?q=onerror", "/papers?sort=oldest"):
        page.goto(app.origin + path)
        assert page.evaluate("window.hit") is None
        assert page.locator("main img").count() == 0
