"""Fixtures of the tests of lookups."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from papers_server import PapersServer, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PapersServer]:
    """A server that is each of the sources, without keys and pauses."""
    with serving(monkeypatch) as papers:
        yield papers
