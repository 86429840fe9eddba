"""The report in headless Chromium: what a reader does with it, and that it asks no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser_page import Browser, Page, a_browser, expect, watched
from curate_workspace import item
from curation_report import (
    FACTS,
    OWN,
    RUN,
    a_run,
    by_chance,
    gated,
    of_paper,
    rejected_by_gates,
    summed,
    unjudged,
    voted,
    written,
)
from page_corpus import HOSTILE

from skills.curate.report.summary import Run
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

__all__ = ["a_browser"]

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
A4 = {"width": 680, "height": 1009}  # less its margins


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the report on forty annotations."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(written(RUN, FACTS))
    return path.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched(browser, WIDE) as opened:
        yield opened


def show(page: Page, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(written(run, summed(run)))
    page.goto(path.as_uri())


def test_it_opens_with_both_lists_folded_up(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("h1")).to_have_text("Curation of agent.csv")
    close = FACTS["panel"]["borderline"]["closest"]
    titles = page.locator("#borderline .title").all_text_contents()
    assert titles == [one["title"] for one in close]
    refused = [one for one in OWN if one.decision != "kept"]
    status = f"{len(refused)} of {len(refused)} annotations shown."
    expect(page.locator("#refused [role=status]")).to_have_text(status)
    expect(page.locator("#rows .body")).to_have_count(0)
    expect(page.locator("#rows .more:visible")).to_have_count(0)
    expect(page.get_by_text("whose name ends in _rejected.csv")).to_have_count(0)


def test_an_annotation_unfolds_by_key_with_abstract_moves_and_votes(
    page: Page, tmp_path: Path
) -> None:
    show(page, tmp_path, a_run([voted(item(1), (4, 2, 2, 2, None), beta="Not so.")]))
    page.locator("#refused summary").focus()
    page.keyboard.press("Enter")
    body = page.locator("#refused .body")
    expect(body.locator(".abstract")).to_contain_text("We present a method that groups bundles")
    labels = body.locator(".entries .label").all_text_contents()
    assert labels == [move.label for move in nanda().moves]
    link = body.locator("a")
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/2401.00001")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    rows = [row.locator("th, td").all_text_contents() for row in body.locator("tbody tr").all()]
    assert rows[0] == ["alpha", "4.000", "3.000", "pass", "0.95", ""]
    assert rows[1] == ["beta", "2.000", "3.000", "no pass", "0.95", "Not so."]
    assert rows[4] == ["epsilon", "\u2013", "3.000", "invalid", "0.20", ""]
    facts = page.locator("#refused summary .about")
    expect(facts).to_contain_text("rejected 1 of 5 votes mean 2.500")
    page.keyboard.press("Enter")
    expect(body).to_be_hidden()
    page.keyboard.press("Enter")
    expect(body).to_have_count(1)


def test_a_move_marks_the_sentence_it_comes_from(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, a_run([voted(item(1), [2.0] * 5)]))
    page.locator("#refused summary").click()
    marked = page.locator("#refused .marked")
    expect(marked).to_have_count(0)
    method = page.locator("#refused").get_by_role("button", name="Method")
    method.click()
    expect(marked).to_contain_text("We present a method")
    expect(method).to_have_attribute("aria-pressed", "true")
    page.locator("#refused").get_by_role("button", name="Novelty").click()
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("Nobody had grouped")
    expect(method).to_have_attribute("aria-pressed", "false")
    page.locator("#refused").get_by_role("button", name="Novelty").click()
    expect(marked).to_have_count(0)


def test_what_a_gate_found_stands_at_its_move_and_a_failure_says_why(
    page: Page, tmp_path: Path
) -> None:
    empty = gated(1)
    empty = of_paper(empty.paper, {**empty.moves, "scope": "", "limitation": "Not stated."})
    show(page, tmp_path, a_run([rejected_by_gates(empty), unjudged(item(2))]))
    first, second = page.locator("#refused summary").all()
    first.click()
    claim = page.locator(".entries li", has_text="Claim")
    expect(claim.locator(".flag")).to_have_text("the number 777 is not in the abstract")
    expect(page.locator(".entries li", has_text="Scope")).to_contain_text("(empty)")
    expect(page.locator(".entries .absent")).to_contain_text("Not stated.")
    expect(page.get_by_text("The panel was not asked.")).to_have_count(1)
    second.click()
    expect(page.get_by_text("GenerationFailed: The server went away")).to_be_visible()


def test_a_reason_can_be_chosen_and_is_explained(page: Page, address: str) -> None:
    page.goto(address)
    choice = page.get_by_label("Reason")
    choice.select_option("number")
    expect(page.locator("#refused .rows > li")).to_have_count(1)
    expect(page.locator("#refused .choice")).to_contain_text("a number that the abstract lacks.")
    choice.select_option("failed")
    expect(page.locator("#refused .decision")).to_have_text("failed")
    choice.select_option("alpha")
    against = sum("alpha" in one.reasons for one in OWN)
    expect(page.locator("#refused .rows > li")).to_have_count(against)
    expect(page.locator("#refused .choice")).to_contain_text("what alpha looks at is right")
    choice.select_option("")
    refused = sum(one.decision != "kept" for one in OWN)
    expect(page.locator("#refused .rows > li")).to_have_count(refused)


def test_of_many_a_few_are_shown_at_a_time(page: Page, tmp_path: Path) -> None:
    kept = [voted(item(number), [5.0] * 5) for number in range(1700)]
    rejected = [voted(item(number), [1.0] * 5) for number in range(1700, 2400)]
    show(page, tmp_path, a_run([*kept, *rejected]))
    rows = page.locator("#refused .rows > li")
    expect(rows).to_have_count(25)
    expect(page.locator("#refused [role=status]")).to_have_text("25 of 700 annotations shown.")
    page.get_by_role("button", name="Show 25 more").click()
    expect(rows).to_have_count(50)
    expect(rows.nth(25).locator("summary")).to_be_focused()
    assert page.evaluate("document.querySelectorAll('#rows *').length") < 1500


def test_hostile_text_is_shown_and_does_nothing(page: Page, tmp_path: Path) -> None:
    paper = Paper("arxiv_id", HOSTILE, HOSTILE, f"{HOSTILE}. Then more.")
    said = dict.fromkeys(nanda().names, HOSTILE)
    own = [
        rejected_by_gates(of_paper(paper, said, HOSTILE)),
        unjudged(item(1), HOSTILE),
        voted(item(2), [2.0] * 5, alpha=HOSTILE),
    ]
    bad = [by_chance(replace(item(4), probe="copied", changed=HOSTILE))]
    show(page, tmp_path, a_run(own, bad, name=f"data/{HOSTILE}"))
    for summary in page.locator("#refused summary").all():
        summary.click()
    expect(page.locator("#refused .title").first).to_have_text(flatten(HOSTILE))
    expect(page.locator(".entries .said").first).to_have_text(flatten(HOSTILE))
    expect(page.locator("img")).to_have_count(0)
    assert page.evaluate("typeof hit") == "undefined"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_has_room_for_it(
    browser: Browser, page: Page, address: str, scheme: str
) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    for summary in page.locator("details > summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_table_without_room_scrolls_by_key(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(address)
    table = page.get_by_role("region", name="The personas")
    table.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    # Not `wait_for_function`, whose second look the page's own policy forbids.
    for _ in range(50):
        if table.evaluate("(it) => it.scrollLeft") > 0:
            break
        page.wait_for_timeout(100)
    assert table.evaluate("(it) => it.scrollLeft") > 0


def test_without_programs_all_figures_are_there(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    expect(opened.get_by_role("table")).to_have_count(8)
    expect(opened.get_by_role("img")).to_have_count(11)
    expect(opened.get_by_text("whose name ends in _rejected.csv")).to_be_visible()
    context.close()


def test_on_paper_it_is_dark_on_white_without_controls(page: Page, address: str) -> None:
    page.set_viewport_size(A4)
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(address)
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(0, 0, 0)"
    for table in page.locator(".wide").all():
        assert table.evaluate("(it) => it.scrollWidth <= document.body.clientWidth"), table
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator(".choice")).to_be_hidden()
