"""A review in headless Chromium, by keyboard alone."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import page_corpus
import pytest
from agent_process import environment_of, start_agent
from browser_page import Browser, Page, expect, watched
from reviewed_corpus import PAPERS, build, decisions, gold, gold_of, reviewed
from served_app import Served

FIRST = "2505.00001"
VIEW = {"width": 1280, "height": 900}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return build(tmp_path)


@pytest.fixture
def app(database: Path) -> Iterator[Served]:
    with reviewed(database) as running:
        yield running


@pytest.fixture
def page(browser: Browser, app: Served) -> Iterator[Page]:
    with watched(browser, VIEW, app.origin) as opened:
        enter(opened, app, "Ada")
        yield opened


def enter(page: Page, app: Served, name: str) -> None:
    """Begin a review, without the mouse."""
    page.goto(app.entrance("/review"))
    sign_in(page, name)


def sign_in(page: Page, name: str) -> None:
    """Enter the name in the field, which gets the focus with the first frame of the page."""
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.type(name)
    press(page, "Enter")


def press(page: Page, key: str) -> None:
    """Press a key that leads to another page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def number(page: Page) -> int:
    """Return the place of the shown paper in the queue."""
    return int((page.locator(".head").text_content() or "").split()[0])


def test_ten_papers_by_keyboard_alone(page: Page, database: Path) -> None:
    press(page, "a")
    page.keyboard.press("j")  # edit the second move
    page.keyboard.press("e")
    page.keyboard.press("Control+A")
    page.keyboard.type("Ferries were timed at dawn.")
    press(page, "Enter")
    expect(page.locator("#move-evidence .text")).to_have_text("Ferries were timed at dawn.")
    expect(page.locator("#move-evidence")).to_be_focused()
    press(page, "a")
    page.keyboard.press("r")
    page.keyboard.type("another paper's text")
    press(page, "Enter")
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    press(page, "n")
    expect(page.locator("#move-method .text")).to_have_text("Not stated.")
    press(page, "a")
    press(page, "s")  # paper 5 is skipped, and comes again
    page.keyboard.press("h")
    page.keyboard.type("1")
    press(page, "Enter")
    expect(page.locator("#move-claim .origin")).to_have_text(
        "from sentence 1 (selected by a reviewer)"
    )
    press(page, "a")
    press(page, "a")
    press(page, "u")
    expect(page.get_by_role("status").first).to_contain_text("is no longer accepted")
    assert number(page) == 7
    page.keyboard.press("3")
    page.keyboard.type(" Twice.")
    page.keyboard.press("Escape")
    press(page, "a")
    for _ in range(4):
        press(page, "a")
    done = decisions(database)
    assert len([one for one in done if one["what"] in ("accept", "reject")]) == 11
    assert {one["reviewer"] for one in done} == {"Ada"}
    rows = gold(database)
    assert len(rows) == 9
    assert rows[1]["evidence"] == "Ferries were timed at dawn."
    assert rows[2]["method"] == "Not stated."
    assert "Twice" not in rows[4]["method"]
    assert [one["reason"] for one in done if one["what"] == "reject"] == ["another paper's text"]
    assert done[-1]["what"] == "accept"
    anchored = [one for one in done if one["what"] == "accept" and one["anchors"]]
    assert [list(one["anchors"]) for one in anchored] == [["claim"]]


def test_the_end_of_the_queue(page: Page, database: Path) -> None:
    press(page, "s")
    for _ in range(PAPERS - 1):
        press(page, "a")
    expect(page.locator("h1")).to_have_text("No paper is left")
    press(page, "s")
    assert number(page) == 1
    press(page, "a")
    expect(page.locator("main")).to_contain_text(f"{PAPERS} accepted")
    press(page, "u")
    assert number(page) == 1
    assert len(gold(database)) == PAPERS - 1


def test_a_passage_is_the_text_selected_in_the_abstract(page: Page, database: Path) -> None:
    words = "planner that moves"
    page.evaluate(
        """(words) => new Promise((selected) => {
          const sentence = [...document.querySelectorAll(".abstract .sentence")]
            .find((one) => one.textContent.includes(words)).firstChild;
          const start = sentence.data.indexOf(words);
          document.addEventListener("selectionchange", selected, { once: true });
          getSelection().setBaseAndExtent(sentence, start, sentence, start + words.length);
        })""",
        words,
    )
    page.keyboard.press("j")
    press(page, "h")
    expect(page.locator("#move-evidence .origin")).to_contain_text("selected by a reviewer")
    expect(page.locator("mark[data-moves~='move.evidence']")).to_have_text(words)
    press(page, "a")
    last = decisions(database)[-1]
    [[start, end]] = last["anchors"]["evidence"]
    assert last["paper"]["abstract"][start:end] == words


def test_the_line_that_trains_is_copied(browser: Browser, tmp_path: Path) -> None:
    database = build(tmp_path, papers=21)
    with reviewed(database) as app, watched(browser, VIEW, app.origin) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        enter(page, app, "Ada")
        for _ in range(20):
            press(page, "a")
        expect(page.locator(".round summary")).to_contain_text("160 of 160 moves")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"/finetune {gold_of(database)} --reader --as-name my-annotator"


def test_the_help_lists_the_keys(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("a")  # in the help, the key decides nothing
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert number(page) == 1


def test_what_cannot_be_accepted_is_reported(browser: Browser, app: Served) -> None:
    page = browser.new_page(viewport=VIEW)  # not `watched`: the console logs the status
    enter(page, app, "Ada")
    page.keyboard.press("1")
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    press(page, "Enter")
    expect(page.locator("#move-claim .flag").first).to_contain_text("empty")
    press(page, "a")
    expect(page.get_by_role("alert")).to_contain_text("Not accepted: Claim is empty")
    page.close()


def test_a_click_waits_for_what_was_typed(page: Page, database: Path) -> None:
    page.keyboard.press("1")
    page.keyboard.type(" Twice.")
    with page.expect_navigation():
        page.locator("#move-claim").get_by_role("button", name="Save").click()
    expect(page.locator("#move-claim .text")).to_contain_text("Twice.")
    with page.expect_navigation():
        page.get_by_role("button", name="Accept").click()
    assert gold(database)[0]["claim"].endswith("Twice.")


def test_a_text_that_cannot_be_stored_is_reported(browser: Browser, app: Served) -> None:
    page = browser.new_page(viewport=VIEW)  # not `watched`: the console logs the failed request
    enter(page, app, "Ada")
    page.route("**/review/draft", lambda route: route.abort())
    page.keyboard.press("2")
    page.keyboard.type("T")
    notice = page.get_by_role("status").first
    expect(notice).to_contain_text("What you type is not stored")
    page.unroute("**/review/draft")
    page.keyboard.type("w")
    expect(notice).to_have_text("")
    page.close()


def test_an_unfinished_edit_is_not_left_behind(browser: Browser, app: Served) -> None:
    page = browser.new_page(viewport=VIEW)  # not `watched`: the console logs the status
    enter(page, app, "Ada")
    page.keyboard.press("2")
    page.keyboard.type(" Twice.")
    page.locator("h1").click()
    press(page, "a")
    expect(page.get_by_role("alert")).to_contain_text("the edit of Evidence was not finished")
    expect(page.locator("#move-evidence textarea")).to_be_focused()
    page.keyboard.press("Escape")
    press(page, "a")
    assert number(page) == 2
    page.close()


def test_two_reviewers_at_once_get_no_paper_twice(
    browser: Browser, app: Served, database: Path
) -> None:
    with (
        watched(browser, VIEW, app.origin) as ada,
        watched(browser, VIEW, app.origin) as bo,
    ):
        enter(ada, app, "Ada")
        enter(bo, app, "Bo")
        seen = []
        for _ in range(PAPERS // 2):
            seen += [number(ada), number(bo)]
            press(bo, "a")
            press(ada, "a")
        assert sorted(seen) == list(range(1, PAPERS + 1))
        expect(ada.locator("h1")).to_have_text("No paper is left")
    assert Counter(one["reviewer"] for one in decisions(database)) == {"Ada": 6, "Bo": 6}
    assert len(gold(database)) == PAPERS


def test_double_review_and_a_disagreement(browser: Browser, tmp_path: Path) -> None:
    database = build(tmp_path, papers=2)
    with (
        reviewed(database, double=1.0) as app,
        watched(browser, VIEW, app.origin) as ada,
        watched(browser, VIEW, app.origin) as bo,
    ):
        enter(ada, app, "Ada")
        enter(bo, app, "Bo")
        assert number(ada) == number(bo) == 1
        press(ada, "a")
        bo.keyboard.press("1")
        bo.keyboard.press("Control+A")
        bo.keyboard.type("Bo's claim.")
        press(bo, "Enter")
        press(bo, "a")
        assert gold(database) == []
        press(ada, "a")
        press(bo, "a")
        assert len(gold(database)) == 1
        bo.goto(app.origin + "/review/disputes")
        expect(bo.locator(".rows a")).to_be_focused()
        press(bo, "Enter")
        expect(bo.locator("fieldset.differs")).to_have_count(1)
        expect(bo.locator(":checked")).to_have_count(0)
        bo.keyboard.press("a")  # the browser refuses the form, and goes to the first choice
        expect(bo.locator("input[type=radio]").first).to_be_focused()
        with bo.expect_response(lambda answer: "/draft" in answer.url):
            bo.keyboard.press("ArrowDown")
        bo.reload()
        expect(bo.locator("input[type=radio]").nth(1)).to_be_checked()
        press(bo, "a")
        assert sorted(one["claim"] for one in gold(database))[0] == "Bo's claim."
        last = decisions(database)[-1]
        assert (last["reviewer"], last["resolves"]) == ("Bo", True)
        bo.goto(app.origin + "/review/agreement")
        row = bo.get_by_role("row", name="Claim kept")
        expect(row).to_contain_text("1 of 2")


def test_disagreements_are_settled_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    """Each choice, and another text as it is typed, is stored at once."""
    database = build(tmp_path, papers=1)
    with (
        reviewed(database, double=1.0) as app,
        watched(browser, VIEW, app.origin) as page,
        app.client() as bo,
    ):
        bo.post("/review", data={"name": "Bo"})
        for move in ("claim", "scope"):
            fields = {"id": FIRST, "act": "edit", "move": move, "text": f"Bo's {move}."}
            bo.post("/review/paper", data=fields)
        bo.post("/review/paper", data={"id": FIRST, "act": "accept"})
        enter(page, app, "Ada")
        press(page, "a")
        page.goto(f"{app.origin}/review/dispute?id={FIRST}")
        page.keyboard.press("2")
        expect(page.locator("[name=choice-scope]").first).to_be_focused()
        page.keyboard.press("e")
        area = page.locator("[name=text-scope]")
        expect(area).to_be_focused()
        page.keyboard.press("Control+A")
        page.keyboard.type("Neither")
        with page.expect_response(
            lambda answer: (answer.request.post_data_json or {}).get("text") == "Neither."
        ):
            page.keyboard.type(".")
        page.reload()
        expect(area).to_have_value("Neither.")
        expect(page.locator(":checked")).to_have_count(2)
        area.focus()
        page.keyboard.press("Escape")
        press(page, "a")
    [row] = gold(database)
    assert (row["claim"], row["scope"]) == ("Bo's claim.", "Neither.")


def test_killed_in_the_middle_of_an_edit_it_continues_there(
    browser: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.move(build(tmp_path), folder / "corpus.db")
    environment = {k: v for k, v in environment_of(tmp_path).items() if k != "HARNESS_REGISTRY"}
    typed = "Half a sentence that nobody has sav"

    def run(work) -> None:  # type: ignore[no-untyped-def]
        process = start_agent(tmp_path, "serve --no-open", environment)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            origin = address.partition("/?")[0]
            opened = browser.new_page(viewport=VIEW)
            opened.set_default_timeout(10_000)
            opened.goto(address)
            opened.goto(origin + "/review")
            sign_in(opened, "Ada")
            work(opened)
            os.kill(process.pid, signal.SIGKILL)
            opened.close()
        finally:
            process.kill()
            process.communicate()

    def first(opened: Page) -> None:
        for _ in range(4):
            press(opened, "a")
        opened.keyboard.press("2")
        opened.keyboard.press("Control+A")
        opened.keyboard.type(typed[:-1])
        with opened.expect_response(
            lambda answer: (
                "/draft" in answer.url
                and typed in (answer.request.post_data_json or {}).get("text", "")
            )
        ):
            opened.keyboard.type(typed[-1])

    def second(opened: Page) -> None:
        assert number(opened) == 5
        area = opened.locator("#move-evidence textarea")
        expect(area).to_be_focused()
        expect(area).to_have_value(typed)
        opened.keyboard.type("ed.")
        press(opened, "Enter")
        while opened.locator(".head").count():
            press(opened, "a")

    run(first)
    run(second)
    with (tmp_path / "gold.csv").open(encoding="utf-8") as file:
        text = file.read()
    assert text.count("\n") == PAPERS + 1
    assert f"{typed}ed." in text


def test_hostile_texts_run_nothing(browser: Browser, tmp_path: Path) -> None:
    database = build(tmp_path, hostile=page_corpus.HOSTILE)
    with (
        reviewed(database, double=1.0) as app,
        watched(browser, VIEW, app.origin) as page,
        watched(browser, VIEW, app.origin) as other,
    ):
        enter(page, app, page_corpus.HOSTILE[:80])
        enter(other, app, "Bo")
        page.keyboard.press("1")
        page.keyboard.press("Control+A")
        page.keyboard.type(page_corpus.HOSTILE.replace("\n", " "))
        press(page, "Enter")
        press(page, "a")
        other.keyboard.press("r")
        other.keyboard.type(page_corpus.HOSTILE.replace("\n", " "))
        press(other, "Enter")
        for path in ("/review", "/review/disputes", "/review/agreement"):
            page.goto(app.origin + path)
            assert page.evaluate("window.hit") is None
        page.goto(app.origin + "/review/disputes")
        page.locator(".rows a").click()
        expect(page.locator("fieldset")).to_have_count(8)
        assert page.evaluate("window.hit") is None
        assert decisions(database)[-1]["reason"]
