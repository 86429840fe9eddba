"""Headless Chromium for the tests of pages; importing it skips a module where there is none.

from browser_page import Browser, Page, expect, watched
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine", allow_module_level=True)

from playwright.sync_api import Browser, Page, ViewportSize, expect  # noqa: E402, F401


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start headless Chromium, and close it."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@contextmanager
def watched(browser: Browser, viewport: ViewportSize, origin: str = "file:") -> Iterator[Page]:
    """Open a page; check that it requests nothing elsewhere and logs nothing to the console."""
    opened = browser.new_page(viewport=viewport)
    opened.set_default_timeout(20_000)
    requested: list[str] = []
    logged: list[str] = []
    opened.on("request", lambda request: requested.append(request.url))
    opened.on("console", lambda message: logged.append(message.text))
    opened.on("pageerror", lambda error: logged.append(str(error)))
    yield opened
    opened.close()
    assert [url for url in requested if not url.startswith((origin, "data:"))] == []
    assert logged == []
