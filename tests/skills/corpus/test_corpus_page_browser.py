"""The page in headless Chromium: what a reader does with it, and that it asks no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import Browser, Page, a_browser, expect, watched
from page_corpus import HOSTILE, annotated, corpus, failures

from skills.corpus import stats
from skills.corpus.page import write_html
from skills.corpus.records import Failure
from skills.nanda.framework import nanda

__all__ = ["a_browser"]

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the page of forty papers."""
    path = tmp_path_factory.mktemp("page") / "corpus.html"
    with path.open("wb") as file:
        write_html(
            file,
            title="Harbours",
            items=corpus(),
            failures=failures(),
            framework=nanda(),
            about={"planned": 43, "tokens": {"prompt": 16820}},
        )
    return path.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched(browser, WIDE) as opened:
        yield opened


def titles(page: Page) -> list[str]:
    """Of the papers whose rows are there: all that are seen, and some more."""
    return page.locator("td.title .title").all_text_contents()


def rows(page: Page, view: str) -> list[list[str]]:
    """The cells of a drawing's table."""
    lines = page.locator(f'[data-draws="{view}"] tbody tr')
    return [line.locator("th, td").all_text_contents() for line in lines.all()]


def test_it_opens_with_all_papers_and_their_moves(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("h1")).to_have_text("Harbours")
    expect(page.locator("#count")).to_have_text("40 papers")
    expect(page.locator("#summary")).to_have_text("40 papers · 3 failed · Nanda 8-move framework")
    heads = page.locator("[role=columnheader]").all_text_contents()
    assert heads == ["Paper", "Year", *(move.label for move in nanda().moves), "Support"]
    first = page.locator("tr[data-row='0']")
    expect(first.locator("td").nth(2)).to_contain_text("Keeper1 plans how Beehives move.")
    expect(first.locator("td.not")).to_have_count(2)
    link = first.locator("a")
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/2505.00001")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(page.locator("[role=grid]")).to_have_attribute("aria-rowcount", "41")


def test_words_and_phrases_filter_and_the_facets_count_what_is_left(
    page: Page, address: str
) -> None:
    page.goto(address)
    page.fill("#query", "ferr KEEPER")
    expect(page.locator("#count")).to_have_text("10 of 40 papers")
    year = page.get_by_role("group", name="Year")
    assert sum(map(int, year.locator(".count").all_text_contents())) == 10
    page.fill("#query", '"dawn moves"')
    expect(page.locator("#count")).to_have_text("0 of 40 papers")
    expect(page.get_by_text("No paper is like that.")).to_be_visible()
    page.fill("#query", '"at daw')  # the phrase goes on
    expect(page.locator("#count")).to_have_text("40 papers")
    page.fill("#query", '"at daw"')
    expect(page.locator("#count")).to_have_text("0 of 40 papers")
    page.fill("#query", "erries")  # a word begins with what is typed
    expect(page.locator("#count")).to_have_text("0 of 40 papers")
    page.fill("#query", 'bjork "at dawn" keeper12')
    expect(page.locator("#count")).to_have_text("1 of 40 papers")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#count")).to_have_text("40 papers")


def test_facets_narrow_each_other(page: Page, address: str) -> None:
    page.goto(address)
    stated = page.get_by_role("checkbox", name="Limitation: stated")
    stated.check()
    expect(page.locator("#count")).to_have_text("8 of 40 papers")
    line = page.get_by_role("row", name="Limitation")
    assert line.locator(".count").all_text_contents() == ["8", "32"]  # what each would give
    page.get_by_role("checkbox", name="Limitation: not stated").check()  # either of them
    expect(page.locator("#count")).to_have_text("40 papers")
    page.get_by_role("checkbox", name="Limitation: not stated").uncheck()
    page.get_by_role("group", name="Category").get_by_text("cs.RO").click()
    left = [item for item in corpus() if item.record["limitation"] != "Not stated."]
    kept = [item for item in left if "cs.RO" in item.paper.categories]
    expect(page.locator("#count")).to_have_text(f"{len(kept)} of 40 papers")
    assert titles(page) == [item.paper.title for item in kept]
    page.get_by_role("button", name="Take away the choice Limitation: stated").click()
    expect(stated).not_to_be_checked()


def test_findings_are_a_facet_and_marked(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("group", name="Findings").get_by_text("Numbers not in the abstract").click()
    expect(page.locator("#count")).to_have_text("1 of 40 papers")
    evidence = page.locator("td[data-label=Evidence]")
    assert evidence.locator(".unsupported").all_text_contents() == ["98,765", "GPT-9"]
    title = evidence.locator(".flag").get_attribute("title") or ""
    assert "Numbers not in the abstract: 98765. Names not in the abstract: GPT-9" in title
    expect(page.locator("td[data-label=Scope] .flag")).to_contain_text("support 0%")


def test_a_click_on_a_move_marks_its_source_in_the_abstract(
    page: Page, address: str, tmp_path: Path
) -> None:
    page.goto(address)
    page.locator("tr[data-row='4'] td[data-label=Limitation]").click()
    detail = page.get_by_role("complementary", name="Paper")
    expect(detail.locator("h2")).to_have_text("Keeping Beehives 5")
    expect(detail.locator("mark")).to_have_text("Source of Limitation: Storms remain out of reach.")
    checks = detail.locator(".entries .checks:visible")
    expect(checks).to_contain_text("100% of its content words are in the abstract")
    expect(checks).to_contain_text("nearest is sentence 4")
    detail.get_by_role("button", name=re.compile("Method")).click()
    expect(detail.locator("mark")).to_contain_text("We present Keeper5, a planner that moves")
    detail.get_by_text("Where it comes from").click()
    expect(detail.locator("dl")).to_contain_text("sampling, seed12345")
    picture = tmp_path / "page.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
    expect(detail.locator(".place")).to_have_text("5 of 40")
    page.fill("#query", "keeper5 beehives")
    expect(detail.locator(".place")).to_have_text("1 of 1")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_headers_sort_up_down_and_not_at_all(page: Page, address: str) -> None:
    page.goto(address)
    button = page.get_by_role("button", name="Paper", exact=True)
    header = page.locator("[role=columnheader]").first
    for order, first in (
        ("ascending", "Keeping Beehives 1"),
        ("descending", "Keeping Orchards 39"),
        ("none", "Keeping Beehives 1"),
    ):
        button.click()
        expect(header).to_have_attribute("aria-sort", order)
        assert titles(page)[0] == first
        expect(button).to_be_focused()
    page.get_by_role("button", name="Limitation").click()
    assert titles(page)[0] == "Keeping Beehives 5"  # what is not stated comes last
    page.get_by_role("button", name="Limitation").click()
    assert titles(page)[0] == "Keeping Beehives 5"


def test_a_view_is_in_the_address_and_comes_back(page: Page, address: str) -> None:
    page.goto(address)
    page.fill("#query", "keeper")
    page.get_by_role("checkbox", name="Comparison: stated").check()
    page.get_by_role("button", name="Year", exact=True).click()
    page.get_by_text("Columns").click()
    page.get_by_role("checkbox", name="Scope what the claim").uncheck()
    page.locator("tr[data-row='1'] td[data-label=Claim]").click()
    view = page.url
    before = titles(page)
    page.goto("about:blank")
    page.goto(view)
    assert titles(page) == before
    expect(page.locator("#query")).to_have_value("keeper")
    expect(page.locator("#count")).to_have_text("20 of 40 papers")
    expect(page.locator("[role=columnheader]")).to_have_count(10)
    expect(page.locator("#detail mark")).to_be_visible()
    expect(page.locator("tr.open")).to_have_count(1)
    page.evaluate("location.hash = 'query=ferries&sort=nonsense&paper=none&tab=x&year=1'")
    expect(page.locator("#count")).to_have_text("10 of 40 papers")
    expect(page.locator("#detail")).to_be_hidden()
    page.fill("#query", "beehives")
    page.wait_for_url("**/*#query=beehives")


def test_the_statistics_are_those_of_the_python_side(page: Page, address: str) -> None:
    counted = stats.of_items(corpus(), failures(), nanda())

    def cells(name: str, share: stats.Share) -> list[str]:
        low, high = share.interval
        exact = f"{(share.value or 0) * 100:.1f}%"
        interval = f"{low * 100:.1f}% \N{EN DASH} {high * 100:.1f}%"
        return [name, str(share.count), str(share.of), exact, interval]

    labels = {move.name: move.label for move in nanda().moves}
    page.goto(f"{address}#tab=statistics&subject=limitation&by=category")
    expect(page.get_by_role("img").first).to_be_visible()
    assert rows(page, "rates") == [cells(labels[m.move], m.stated) for m in counted.moves]
    assert rows(page, "groups") == [
        cells(group.name, group.stated["limitation"]) for group in counted.categories
    ]
    page.get_by_role("combobox", name="by").select_option("year")
    assert rows(page, "groups") == [
        cells(group.name, group.stated["limitation"]) for group in counted.years
    ]
    assert rows(page, "years") == [[group.name, str(group.papers)] for group in counted.years]
    supports = page.locator("figure", has_text="What was checked").locator(
        "tbody tr td:nth-child(3)"
    )
    assert supports.all_text_contents() == [
        "\N{EN DASH}" if move.support is None else f"{move.support * 100:.1f}%"
        for move in counted.moves
    ]
    bins = [int(count) for _, count in rows(page, "support")]
    assert sum(bins) == sum(move.stated.count for move in counted.moves)


def test_the_statistics_follow_the_filter(page: Page, address: str) -> None:
    page.goto(f"{address}#tab=statistics&query=ferries")
    assert rows(page, "rates")[0][1:3] == ["10", "10"]
    assert page.locator("svg .all").count() == 8  # where all papers are
    name = page.locator('[data-draws="rates"] svg').get_attribute("aria-label") or ""
    assert "Claim 100%" in name


def test_failures_stand_by_type_with_their_replies(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("tab", name="Failures").click()
    heads = page.locator("#failures-view h2").all_text_contents()
    assert heads == ["InvalidReply2", "GenerationFailed1"]
    expect(page.get_by_text("1 may succeed when tried again.")).to_be_visible()
    reply = page.locator("#failures-view pre")
    expect(reply).to_be_hidden()
    page.get_by_text("The model's last answer").click()
    expect(reply).to_have_text("Claim: <b>\nx")


def test_keys_move_through_the_table_and_open_papers(page: Page, address: str) -> None:
    page.goto(address)
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.locator("td[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#detail h2")).to_have_text("Keeping Beehives 1")
    expect(page.locator("#detail mark")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#detail h2")).to_have_text("Keeping Lighthouses 2")
    for _ in range(12):
        page.keyboard.press("PageDown")
    expect(page.locator("#detail h2")).to_have_text("Keeping Ferries 40")
    expect(page.locator("td:focus")).to_be_in_viewport()
    page.get_by_role("button", name="Previous paper").click()
    expect(page.locator("#detail h2")).to_have_text("Keeping Orchards 39")
    page.keyboard.press("Escape")
    expect(page.locator("td:focus")).to_have_count(1)
    page.get_by_role("tab", name="Papers").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Statistics")).to_be_focused()


def test_a_phone_has_cards_and_a_panel_of_its_own(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(address)
    expect(page.locator("#facets")).to_be_hidden()
    page.get_by_role("button", name="Facets").click()
    expect(page.locator("#facets")).to_be_visible()
    page.get_by_role("button", name="Facets").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_label("Order").select_option("title")
    page.locator("tr[data-row='0'] td[data-label=Method]").click()
    expect(page.locator("#detail mark")).to_be_in_viewport()
    box = page.locator("#detail").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (PHONE["width"], PHONE["height"])


def test_on_paper_all_papers_stand_with_their_moves(page: Page, address: str) -> None:
    page.goto(f"{address}#query=keeper")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.evaluate("document.querySelector('.scroller').dispatchEvent(new Event('scroll'))")
    page.evaluate("new Promise((done) => setTimeout(done, 200))")  # for what follows it
    expect(page.locator("tr[data-row]")).to_have_count(40)
    page.emulate_media(media="print")
    expect(page.locator("tr[data-row='39']")).to_contain_text("Keeper40, a planner for dawn.")
    expect(page.locator("#facets")).to_be_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    # Not `wait_for_function`, whose second look the page's own policy forbids.
    for _ in range(50):
        if page.locator("tr[data-row]").count() < 40:
            break
        page.wait_for_timeout(100)
    assert page.locator("tr[data-row]").count() < 40


def test_hostile_text_is_shown_as_text(page: Page, tmp_path: Path) -> None:
    moves = dict.fromkeys(nanda().names, HOSTILE)
    item = annotated(1, moves, title=HOSTILE, authors=HOSTILE, categories=HOSTILE, id=HOSTILE)
    failure = Failure(item.paper, HOSTILE, HOSTILE, True, HOSTILE)
    path = tmp_path / "hostile.html"
    with path.open("wb") as file:
        write_html(
            file,
            title=HOSTILE,
            items=[item, annotated(2)],
            failures=[failure],
            framework=nanda(),
            about={HOSTILE: HOSTILE},
        )
    page.goto(path.as_uri())
    page.locator("td[data-label=Claim]").first.click()
    expect(page.locator("#detail h2")).to_contain_text('</script><img src=x onerror="hit=1">')
    for tab in ("Statistics", "Failures"):
        page.get_by_role("tab", name=tab).click()
    page.get_by_text("The model's last answer").click()
    expect(page.locator("pre")).to_contain_text("</script>")
    assert page.locator("img").count() == 0
    assert page.evaluate("typeof hit") == "undefined"


def test_one_paper_opens_by_itself(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "one.html"
    with path.open("wb") as file:
        write_html(file, title="One", items=[annotated(5)], failures=[], framework=nanda())
    page.goto(path.as_uri())
    expect(page.locator("#detail h2")).to_have_text("Keeping Beehives 5")
    page.get_by_role("tab", name="Failures").click()
    expect(page.get_by_text("Every paper has its annotation.")).to_be_visible()


def test_many_papers_have_few_rows_at_a_time(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    with path.open("wb") as file:
        items = (annotated(number) for number in range(1, 401))
        write_html(file, title="Many", items=items, failures=[], framework=nanda())
    page.goto(path.as_uri())
    row = page.locator("tr[data-row]")
    assert row.count() < 60
    page.evaluate("document.querySelector('.scroller').scrollTop = 1e9")
    expect(page.locator("tr[data-row='399']")).to_be_in_viewport()
    assert row.count() < 60
    page.locator("td[tabindex='-1']").last.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("tr[data-row='399'] td:focus")).to_have_count(1)
