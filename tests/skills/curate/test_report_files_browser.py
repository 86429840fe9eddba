"""The report of /curate in headless Chromium: what a reader does with it, without network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser_page import Browser, Page, expect, watched
from curate_workspace import item
from curation_report import (
    FACTS,
    OWN,
    RUN,
    a_run,
    by_chance,
    of_paper,
    rejected_by_gates,
    summed,
    unjudged,
    voted,
    written,
)
from page_corpus import HOSTILE

from skills.curate.run_summary import Run
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
A4 = {"width": 680, "height": 1009}  # in CSS pixels, without margins


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report on forty annotations."""
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


def test_an_annotation_unfolds_by_key_and_marks_sources(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, a_run([voted(item(1), [1.0] * 5, beta="Not so.")]))
    expect(page.locator("h1")).to_have_text("Curation of agent.csv")
    expect(page.get_by_text("1 of 1 shown.")).to_be_visible()
    body = page.locator("#refused .body")
    expect(body).to_be_hidden()
    page.locator("#refused summary").focus()
    page.keyboard.press("Enter")
    expect(body.locator(".abstract")).to_contain_text("We present a method that groups bundles")
    expect(body.get_by_role("row", name="beta")).to_contain_text("Not so.")
    link = body.locator("a")
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/2401.00001")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    marked = body.locator(".marked")
    expect(marked).to_have_count(0)
    method, novelty = (body.get_by_role("button", name=name) for name in ("Method", "Novelty"))
    method.click()
    expect(marked).to_contain_text("We present a method")
    expect(method).to_have_attribute("aria-pressed", "true")
    expect(body.locator(".checks:visible")).to_contain_text(
        "From sentence 2 (found by common words)"
    )
    novelty.click()
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("Nobody had grouped")
    expect(method).to_have_attribute("aria-pressed", "false")
    novelty.click()
    expect(marked).to_have_count(0)


def test_a_reason_can_be_chosen_and_is_explained(page: Page, address: str) -> None:
    page.goto(address)
    choice = page.get_by_label("Reason")
    rows = page.locator("#refused > li:visible")
    refused = sum(one.decision != "kept" for one in OWN)
    expect(rows).to_have_count(refused)
    choice.select_option("number")
    expect(rows).to_have_count(1)
    expect(page.locator(".choice")).to_contain_text("a number that is not in the abstract")
    choice.select_option("failed")
    expect(rows.locator(".decision")).to_have_text("failed")
    choice.select_option("alpha")
    expect(rows).to_have_count(sum("alpha" in one.reasons for one in OWN))
    expect(page.locator(".choice")).to_contain_text("what alpha looks at is right")
    choice.select_option("")
    expect(rows).to_have_count(refused)


def test_long_lists_are_shown_in_steps(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, a_run([voted(item(number), [1.0] * 5) for number in range(300)]))
    rows = page.locator("#refused > li:visible")
    expect(rows).to_have_count(25)
    expect(page.get_by_text("25 of 300 shown.")).to_be_visible()
    page.get_by_role("button", name="Show 25 more").click()
    expect(rows).to_have_count(50)
    expect(rows.nth(25).locator("summary")).to_be_focused()


def test_hostile_text_is_shown_and_does_nothing(page: Page, tmp_path: Path) -> None:
    paper = Paper("arxiv_id", HOSTILE, HOSTILE, f"{HOSTILE}. Then more.")
    moves = dict.fromkeys(nanda().names, HOSTILE)
    own = [
        rejected_by_gates(of_paper(paper, moves, HOSTILE)),
        unjudged(item(1), HOSTILE),
        voted(item(2), [2.0] * 5, alpha=HOSTILE),
    ]
    bad = [by_chance(replace(item(4), probe="copied", changed=HOSTILE))]
    show(page, tmp_path, a_run(own, bad, name=f"data/{HOSTILE}"))
    for summary in page.locator("#refused summary").all():
        summary.click()
    expect(page.locator("#refused b").first).to_have_text(flatten(HOSTILE))
    expect(page.locator("#refused .entries .text").first).to_have_text(flatten(HOSTILE))
    expect(page.locator("img")).to_have_count(0)
    assert page.evaluate("typeof hit") == "undefined"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, address: str, scheme: str) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    for summary in page.locator("details > summary:visible").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_wide_table_scrolls_by_key(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(address)
    table = page.get_by_role("region", name="The personas")
    table.focus()
    page.keyboard.press("ArrowRight")
    # The content security policy of the page forbids `wait_for_function`.
    for _ in range(50):
        if table.evaluate("(it) => it.scrollLeft") > 0:
            break
        page.wait_for_timeout(100)
    assert table.evaluate("(it) => it.scrollLeft") > 0


def test_everything_is_there_without_scripts(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    expect(opened.get_by_role("img")).to_have_count(7)
    listed = len(FACTS.panel.borderline.closest)
    refused = sum(one.decision != "kept" for one in OWN)
    expect(opened.locator(".rows > li:visible")).to_have_count(listed + refused)
    context.close()


def test_on_paper_it_is_dark_on_white_without_controls(page: Page, address: str) -> None:
    page.set_viewport_size(A4)
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(address)
    for style, colour in (("backgroundColor", "255, 255, 255"), ("color", "0, 0, 0")):
        found = page.evaluate(f"getComputedStyle(document.documentElement).{style}")
        assert found == f"rgb({colour})"
    for table in page.locator(".wide:visible").all():
        assert table.evaluate("(it) => it.scrollWidth <= document.body.clientWidth"), table
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator(".choice")).to_be_hidden()
