"""The pages of comparisons in headless Chromium: chosen by keyboard, and checked by axe-core."""

from __future__ import annotations

import dataclasses
import json

import pytest
from browser_page import Browser, Page, expect
from evaluate_workspace import Workspace
from served_app import served

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core, of dev")


def check(page: Page) -> None:
    found = axe.Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("colours", "width"), [("light", 400), ("dark", 1600)])
def test_two_evaluations_are_chosen_and_compared(
    browser: Browser, space: Workspace, colours: str, width: int
) -> None:
    run = space.folder / "run"
    run.mkdir()
    entry = {"facts": {"rows": 3}, "seconds": 1.5, "created": "2026-11-27"}
    (run / "manifest.json").write_text(json.dumps({"stages": {"train": entry}}))
    lines = [{"step": n, "loss": 2 / n, "dev_loss": 3 / n} for n in range(1, 9)]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    settings = dataclasses.replace(space.app.settings, shipped_registry=space.folder / "none.yaml")
    context = browser.new_context(color_scheme=colours, viewport={"width": width, "height": 900})
    with served(space.corpus, settings=settings) as app:
        page = context.new_page()
        page.goto(app.entrance("/compare"))
        page.get_by_label("This model").select_option(label="producer · good.json")
        page.get_by_label("against").select_option(label="producer · bad.json")
        page.get_by_role("button", name="Compare").press("Enter")
        expect(page.locator(".verdict")).to_contain_text("2 won, 9 tied, 0 lost")
        check(page)
        page.get_by_role("link", name="invalid").click()
        expect(page.locator("article")).to_have_count(1)
        check(page)
        page.goto(f"{app.origin}/compare")
        page.get_by_role("link", name="run").click()
        expect(page.get_by_role("img", name="Loss over 8 steps")).to_be_visible()
        check(page)
        context.close()
