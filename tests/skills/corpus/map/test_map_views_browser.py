"""The page of a map in headless Chromium: what a reader does with it, without network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_page import Browser, Page, ViewportSize, expect, watched
from map_corpus import EACH, mapped, planted
from page_corpus import HOSTILE

from skills.corpus.map.field_map import map_of, read_papers
from skills.corpus.map.map_views import write_html
from skills.nanda.framework import nanda

WIDE, PHONE = {"width": 1600, "height": 900}, {"width": 400, "height": 850}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    moves = ("method", "scope")
    items = [
        *planted(),
        mapped(98, "proof", "bees", published=""),
        mapped(99, "proof", "bees", title=HOSTILE, scope="Not stated."),
    ]
    found = map_of(
        read_papers(items, nanda(), moves), nanda(), moves, title="Bees & ships", crossing=True
    )
    path = tmp_path_factory.mktemp("map") / "map.html"
    with path.open("wb") as file:
        write_html(file, found)
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with watched(browser, WIDE) as opened:
        opened.goto(address)
        yield opened


def test_a_cell_opens_its_papers_by_keyboard_and_leads_back(page: Page) -> None:
    cell = page.get_by_role("link", name=f"{EACH} papers:").first
    expect(page.get_by_text("training of bees")).to_have_count(EACH)
    expect(page.get_by_text("training of bees").first).to_be_hidden()
    cell.focus()
    page.keyboard.press("Enter")
    opened = page.locator(".cell:target")
    expect(opened).to_be_focused()
    expect(opened.locator("li")).to_have_count(EACH)
    expect(opened.locator("li").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(opened.get_by_role("link", name="To the matrix")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#matrix")).to_be_in_viewport()
    page.locator("details.cluster[open] > summary").click()
    cell.press("Enter")
    expect(opened.locator("li").first).to_be_visible()


def test_the_gap_is_marked_and_states_what_is_expected(page: Page) -> None:
    gap = page.locator("td.gap")
    expect(gap).to_have_count(1)
    expect(gap.get_by_role("link", name="0 papers, a gap: ")).to_have_count(1)
    assert gap.inner_text().split() == ["0", "3.2"]
    gap.get_by_role("link").click()
    expect(page.locator(".cell:target")).to_contain_text("No paper is in both clusters.")
    row = page.get_by_role("region", name="Gaps, the least probable first").locator("tbody tr")
    expect(row).to_have_count(1)


def test_an_address_opens_a_cell_and_a_cluster_lists_its_cells(page: Page, address: str) -> None:
    page.goto(f"{address}#scope-1")
    cluster = page.locator("#scope-1")
    expect(cluster).to_have_attribute("open", "")
    expect(cluster.locator("summary")).to_be_focused()
    cluster.get_by_role("link").first.click()
    expect(page.locator(".cell:target li").first).to_be_visible()
    page.goto(f"{address}#nothing")


def test_papers_without_a_scope_or_a_year_can_be_opened(page: Page) -> None:
    page.get_by_role("link", name="1 paper: ").filter(has_text="1").last.click()
    expect(page.locator(".cell:target")).to_contain_text("not stated")
    expect(page.locator(".cell:target")).to_contain_text("</script><img src=x onerror=")
    page.get_by_text("1 paper without a year").click()
    expect(page.locator("#about li")).to_contain_text("2405.00098")
    assert page.evaluate("globalThis.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_fits_the_screen_in_both_themes(
    browser: Browser, address: str, size: ViewportSize, scheme: str
) -> None:
    with watched(browser, size) as opened:
        opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        opened.goto(address)
        opened.locator("summary").first.click()
        assert opened.evaluate("document.documentElement.scrollWidth") == size["width"]
        ground = opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_years_of_a_cluster_are_stated_in_words(page: Page) -> None:
    years = page.locator("#method-1 svg")
    name = years.get_attribute("aria-label") or ""
    numbers = [int(part.split(": ")[1]) for part in name.rstrip(". ").split(". ")]
    papers = page.locator("#method-1 .count").first.inner_text()
    assert sum(numbers) in (int(papers.split()[0]), int(papers.split()[0]) - 1)
