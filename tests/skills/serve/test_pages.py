"""What all pages have, and those for addresses that show nothing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from browser_page import Browser, expect, watched
from page_elements import Elements
from served_app import Served, served

from skills.corpus.db import runs
from skills.corpus.db.connection import open_corpus
from skills.serve.guard import HEADERS


def test_an_unknown_address_is_named_with_what_to_do(client: httpx.Client) -> None:
    answer = client.get("/papers/%3Cb%3E")
    assert answer.status_code == 404
    elements = Elements(answer.content)
    assert "b" not in elements.tags
    assert "There is nothing at /papers/<b>. Use the links at the top" in elements.shown


def test_a_method_that_a_page_does_not_answer_is_named(client: httpx.Client) -> None:
    answer = client.post("/papers")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "/papers does not answer POST. Use the links at the top" in answer.text


def test_a_form_that_cannot_be_read_is_refused(client: httpx.Client) -> None:
    kind = {"content-type": "multipart/form-data"}
    answer = client.post("/review", content=b"no boundary", headers=kind)
    assert answer.status_code == 400
    assert "/review: " in answer.text


def test_a_defect_is_named_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("skills.serve.jobs_page.facts", broken)
    with open_corpus(tmp_path / "corpus.db") as db:
        run = runs.start(db, skill="annotate", source="a.csv", model="keeper", settings={})
        runs.finish(db, run, "done", {})
    with served(tmp_path / "corpus.db") as app, app.client() as client:
        answer = client.get(f"/jobs/{run}")
        assert answer.status_code == 500
        assert f"/jobs/{run} failed with ZeroDivisionError" in answer.text
        assert "secret" not in answer.text
        assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]
        assert client.get("/papers").status_code == 200
    assert "ZeroDivisionError: secret" in caplog.text


def test_each_page_names_the_corpus(client: httpx.Client, app: Served) -> None:
    for path in ("/papers", "/review", "/jobs", "/compare", "/nothing"):
        assert f"Corpus: {app.state.database}" in client.get(path).text


def test_a_page_reports_that_the_server_has_ended(browser: Browser, app: Served) -> None:
    with served(app.state.database) as ended:
        page = browser.new_page()
        page.goto(ended.entrance("/papers"))
        expect(page.locator("#gone")).to_be_hidden()
    expect(page.get_by_role("alert")).to_have_text(
        "The server does not answer. If /serve has ended, start it again and open the new address."
    )
    page.close()


def test_a_key_shows_the_keys_of_a_page(browser: Browser, app: Served) -> None:
    with watched(browser, {"width": 400, "height": 800}, app.origin) as page:
        page.goto(app.entrance("/papers"))
        keys = page.get_by_role("dialog", name="Keys")
        page.locator("#q").press("?")  # in a field, the key is a character
        expect(keys).to_be_hidden()
        page.locator("#q").blur()
        page.keyboard.press("?")
        expect(keys).to_contain_text("next and previous paper")
        page.keyboard.press("j")
        expect(keys.get_by_role("button", name="Close")).to_be_focused()
        page.keyboard.press("Escape")
        expect(keys).to_be_hidden()
        page.get_by_role("button", name="Keys").click()
        expect(keys).to_be_visible()


def test_a_review_shows_its_own_keys(browser: Browser, app: Served) -> None:
    with watched(browser, {"width": 1280, "height": 800}, app.origin) as page:
        page.goto(app.entrance("/review"))
        name = page.get_by_label("Your name")
        expect(name).to_be_focused()
        page.keyboard.type("Ada\n")
        expect(page.locator(".move.chosen")).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_contain_text("not stated")
        page.keyboard.press("Escape")
        page.get_by_role("contentinfo").get_by_role("button", name="Keys").press("Enter")
        expect(page.get_by_role("dialog", name="Keys")).to_contain_text("not stated")
