"""A corpus of annotated papers from Zotero, and a server with their items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pushing import Pushing
from zotero_api import KEY, zotero_api


@pytest.fixture
def pushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pushing]:
    with zotero_api() as api:
        monkeypatch.setenv("ZOTERO_API_KEY", KEY)
        monkeypatch.setenv("ZOTERO_API_URL", api.url)
        made = Pushing(tmp_path, api)
        yield made
        made.app.close()
