"""The corpus page in headless Chromium: what a reader does with it, without network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import Browser, Page, ViewportSize, expect, watched
from page_corpus import HOSTILE, annotated, corpus, failures

from skills.corpus.html_page import write_html
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import nanda

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def saved(folder: Path, items: list[Annotated], failed: list[Failure], title: str = "Page") -> str:
    path = folder / "corpus.html"
    with path.open("wb") as file:
        about = {"planned": 43, "tokens": {"prompt": 16820}}
        write_html(file, title=title, items=items, failures=failed, framework=nanda(), about=about)
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with forty papers."""
    return saved(tmp_path_factory.mktemp("page"), corpus(), failures(), "Harbours")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched(browser, WIDE) as opened:
        yield opened


def titles(page: Page) -> list[str]:
    return page.locator("#grid td .title").all_text_contents()


def test_it_opens_with_all_papers_and_their_moves(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("h1")).to_have_text("Harbours")
    expect(page.locator("#count")).to_have_text("40 papers")
    expect(page.get_by_text("3 failed · Nanda 8-move framework")).to_be_visible()
    heads = [head.strip() for head in page.locator("#grid th").all_text_contents()]
    assert heads == ["Paper", "Published", *(move.label for move in nanda().moves)]
    first = page.locator("tr[data-row='0']")
    expect(first.locator("td").nth(2)).to_contain_text("Keeper1 plans how Beehives move.")
    expect(first.locator("td.absent")).to_have_count(2)
    link = first.locator("a")
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/2505.00001")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    page.get_by_text("About").click()
    expect(page.locator("#about dl")).to_contain_text("tokens, prompt16,820")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("ferr KEEPER", 10),
        ('"dawn moves"', 0),
        ('"at daw', 40),  # the phrase is not closed
        ('"at daw"', 0),
        ("erries", 0),  # only the beginning of a word matches
        ('bjork "at dawn" keeper12', 1),
    ],
)
def test_words_and_phrases_filter_the_papers(
    page: Page, address: str, query: str, count: int
) -> None:
    page.goto(address)
    page.fill("#query", query)
    some = "" if count == 40 else f"{count} of "
    expect(page.locator("#count")).to_have_text(f"{some}40 papers")
    year = page.get_by_role("group", name="Year")
    assert sum(map(int, year.locator(".count").all_text_contents())) == count
    expect(page.get_by_text("No paper matches.")).to_have_count(0 if count else 1)
    if count < 40:
        page.get_by_role("button", name="Show all").click()
    expect(page.locator("#count")).to_have_text("40 papers")


def test_facets_narrow_each_other(page: Page, address: str) -> None:
    page.goto(address)
    stated = page.get_by_role("checkbox", name="Limitation: stated")
    stated.check()
    expect(page.locator("#count")).to_have_text("8 of 40 papers")
    line = page.get_by_role("group", name="Limitation")
    # The numbers are the papers that each value would leave.
    assert line.locator(".count").all_text_contents() == ["8", "32"]
    page.get_by_role("checkbox", name="Limitation: not stated").check()  # papers with either value
    expect(page.locator("#count")).to_have_text("40 papers")
    page.get_by_role("checkbox", name="Limitation: not stated").uncheck()
    page.get_by_role("checkbox", name="Category: cs.RO").check()
    left = [item for item in corpus() if item.record["limitation"] != "Not stated."]
    kept = [item for item in left if "cs.RO" in item.paper.categories]
    expect(page.locator("#count")).to_have_text(f"{len(kept)} of 40 papers")
    assert titles(page) == [item.paper.title for item in kept]


def test_findings_are_a_facet_and_marked(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("checkbox", name="Findings: Numbers not in the abstract").check()
    expect(page.locator("#count")).to_have_text("1 of 40 papers")
    row = page.locator("tr[data-row='0']")
    assert row.locator(".unsupported").all_text_contents() == ["98,765", "GPT-9"]
    flags = row.locator(".flag").all_text_contents()
    assert "numbers that are not in the abstract: 98765" in flags
    assert "names that are not in the abstract: GPT-9" in flags
    assert "few of its words are in the abstract" in flags


def test_a_click_on_a_move_marks_its_source(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(address)
    page.locator("tr[data-row='4'] td[data-key='move.limitation']").click()
    detail = page.get_by_role("complementary", name="Paper")
    expect(detail.locator("h2")).to_have_text("Keeping Beehives 5")
    expect(detail.locator(".marked")).to_have_text("Storms remain out of reach.")
    checks = detail.locator(".entries .checks:visible")
    expect(checks).not_to_contain_text("content words")
    expect(checks).to_contain_text("from sentence 4 (found by common words)")
    detail.get_by_role("button", name=re.compile("Method")).click()
    expect(detail.locator(".marked")).to_contain_text("We present Keeper5, a planner that moves")
    detail.get_by_text("Provenance").click()
    expect(detail.locator("dl").first).to_contain_text("sampling, seed12345")
    picture = tmp_path / "page.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
    expect(detail.locator("#position")).to_have_text("5 of 40")
    page.fill("#query", "keeper5 beehives")
    expect(detail.locator("#position")).to_have_text("1 of 1")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


@pytest.mark.parametrize("size", [WIDE, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_click_on_a_move_marks_the_passages_it_quotes(
    page: Page, tmp_path: Path, size: ViewportSize, scheme: str
) -> None:
    item = annotated(5)
    for move, passage in (("claim", "Keeper5, a planner that"), ("method", "a planner that moves")):
        start = item.paper.abstract.index(passage)
        span = [start, start + len(passage)]
        item.record["anchors"][move] = {"sentences": [2], "spans": [span], "by": "model"}
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(saved(tmp_path, [item], []))
    detail = page.get_by_role("complementary", name="Paper")
    marked = detail.locator(".marked")
    expect(marked).to_have_count(0)
    paper = page.evaluate(
        "getComputedStyle(document.querySelector('#detail mark')).backgroundColor"
    )
    for move, passages in (
        ("Claim", ["Keeper5,", "a planner that"]),
        ("Method", ["a planner that", "moves"]),
        ("Novelty", [re.compile("^We present Keeper5, .* at dawn.$")]),
    ):
        detail.get_by_role("button", name=re.compile(f"^{move}")).click()
        expect(marked).to_have_text(passages)
        assert marked.first.evaluate("it => getComputedStyle(it).backgroundColor") != paper
        expect(marked.first).to_be_in_viewport()
    label = "getComputedStyle(document.querySelectorAll('#detail mark')[1], '::after').content"
    assert "Claim, Method" in page.evaluate(label)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_headers_sort_up_down_and_not_at_all(page: Page, address: str) -> None:
    page.goto(address)
    button = page.get_by_role("button", name="Paper", exact=True)
    for order, first in (
        ("ascending", "Keeping Beehives 1"),
        ("descending", "Keeping Orchards 39"),
        ("none", "Keeping Beehives 1"),
    ):
        button.click()
        expect(page.locator("#grid th").first).to_have_attribute("aria-sort", order)
        assert titles(page)[0] == first
        expect(button).to_be_focused()
    for _ in range(2):
        page.get_by_role("button", name="Limitation").click()
        assert titles(page)[0] == "Keeping Beehives 5"  # unstated moves are last in both orders


def test_a_view_is_in_the_address_and_comes_back(page: Page, address: str) -> None:
    page.goto(address)
    page.fill("#query", "keeper")
    page.get_by_role("checkbox", name="Comparison: stated").check()
    page.get_by_role("button", name="Published").click()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Scope what the claim").uncheck()
    page.locator("tr[data-row='1'] td[data-key='move.claim']").click()
    view, before = page.url, titles(page)
    page.goto("about:blank")
    page.goto(view)
    assert titles(page) == before
    expect(page.locator("#query")).to_have_value("keeper")
    expect(page.locator("#count")).to_have_text("20 of 40 papers")
    expect(page.locator("#columns input:not(:checked)")).to_have_value("move.scope")
    expect(page.locator("#detail .marked")).to_be_visible()
    expect(page.locator("tr[aria-current=true]")).to_have_count(1)
    page.evaluate("location.hash = 'query=ferries&sort=nonsense&paper=none&tab=x&year=1&page=-1'")
    expect(page.locator("#count")).to_have_text("10 of 40 papers")
    expect(page.locator("#detail")).to_be_hidden()
    page.fill("#query", "beehives")
    page.wait_for_url("**/*#query=beehives")


@pytest.mark.parametrize(("width", "shown"), [(1280, 4), (1024, 4), (400, 8)])
def test_all_moves_are_reached_without_scrolling_sideways(
    page: Page, address: str, width: int, shown: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    row, view = page.locator("tr[data-row='0']"), page.locator("#papers-view")
    fits = "it => it.scrollWidth <= it.clientWidth"
    expect(row.locator("td.move:visible")).to_have_count(shown)
    assert view.evaluate(fits)
    row.press("Enter")
    expect(page.locator("#detail .entries > li:visible")).to_have_count(8)
    expect(row).to_be_focused()
    assert view.evaluate(fits)
    page.keyboard.press("Escape")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Claim").first.uncheck()
    expect(row.locator("td.move:visible")).to_have_count(min(shown, 7))


def test_papers_open_without_javascript(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.get_by_text("Keeping Lighthouses 2").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".entries > li:visible")).to_have_count(8)
    expect(page.locator("#papers-view")).to_be_hidden()
    context.close()


def test_failures_have_their_replies(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Failures").click()
    reply = page.locator("#failures-view pre")
    expect(reply).to_be_hidden()
    page.get_by_text("The model's last answer").click()
    expect(reply).to_have_text("Claim: <b>\nx")


def test_keys_move_through_the_table_and_open_papers(page: Page, address: str) -> None:
    page.goto(address)
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.locator("tr[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr[data-row='1']")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#detail h2")).to_have_text("Keeping Lighthouses 2")
    page.keyboard.press("PageDown")
    expect(page.locator("#detail h2")).to_have_text("Keeping Ferries 12")
    page.keyboard.press("End")
    expect(page.locator("#detail h2")).to_have_text("Keeping Ferries 40")
    expect(page.locator("tr:focus")).to_be_in_viewport()
    page.get_by_role("button", name="Previous paper").click()
    expect(page.locator("#detail h2")).to_have_text("Keeping Orchards 39")
    page.keyboard.press("Escape")
    expect(page.locator("tr[data-row='38']")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_cards_and_a_panel(page: Page, address: str, scheme: str) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    box = page.get_by_role("checkbox", name="Year: 2025")
    expect(box).to_be_hidden()
    page.get_by_text("Facets").click()
    expect(box).to_be_visible()
    page.get_by_text("Facets").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Published").click()
    page.locator("tr[data-row='0'] td[data-key='move.method']").click()
    expect(page.locator("#detail .marked")).to_be_in_viewport()
    assert page.locator("#detail").bounding_box() == {"x": 0, "y": 0, **PHONE}


def test_on_paper_all_papers_have_their_moves(page: Page, address: str) -> None:
    page.goto(f"{address}#query=keeper")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator("tr[data-row='39']")).to_contain_text("Keeper40, a planner for dawn.")
    expect(page.locator("#facets")).to_be_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_hostile_text_is_shown_as_text(page: Page, tmp_path: Path) -> None:
    moves = dict.fromkeys(nanda().names, HOSTILE)
    item = annotated(1, moves, title=HOSTILE, authors=HOSTILE, categories=HOSTILE, id=HOSTILE)
    failure = Failure(item.paper, HOSTILE, HOSTILE, True, HOSTILE)
    page.goto(saved(tmp_path, [item, annotated(2)], [failure], HOSTILE))
    page.locator("td[data-key='move.claim']").first.click()
    expect(page.locator("#detail h2")).to_contain_text('</script><img src=x onerror="hit=1">')
    for tab in ("Statistics", "Failures"):
        page.get_by_role("button", name=tab).click()
    page.get_by_text("The model's last answer").click()
    expect(page.locator("pre")).to_contain_text("</script>")
    assert page.locator("img").count() == 0
    assert page.evaluate("typeof hit") == "undefined"


def test_one_paper_opens_by_itself(page: Page, tmp_path: Path) -> None:
    page.goto(saved(tmp_path, [annotated(5)], []))
    expect(page.locator("#detail h2")).to_have_text("Keeping Beehives 5")


def test_many_papers_are_shown_in_pages(page: Page, tmp_path: Path) -> None:
    page.goto(saved(tmp_path, [annotated(number) for number in range(1, 151)], []))
    row = page.locator("tr[data-row]")
    expect(row).to_have_count(50)
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator("#place")).to_have_text("51 to 100 of 150")
    page.locator("tr[tabindex='0']").focus()
    page.keyboard.press("End")
    expect(page.locator("tr[data-row='149']")).to_be_focused()
    expect(page.get_by_role("button", name="Next", exact=True)).to_be_disabled()
    page.reload()
    expect(page.locator("tr[data-row='149']")).to_have_count(1)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(row).to_have_count(150)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(row).to_have_count(50)
