"""Fixtures that several skills use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; closed after the module, since its event loop disturbs other tests."""
    from browser_page import running_browser

    with running_browser() as chromium:
        yield chromium
