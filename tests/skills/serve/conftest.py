"""Fixtures of the tests of the web application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import browsed_corpus
import pytest

if TYPE_CHECKING:
    import httpx
    from served_app import Served


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of browsed_corpus.py; tests that write make their own."""
    return browsed_corpus.build(tmp_path_factory.mktemp("served") / "corpus.db")


@pytest.fixture(scope="module")
def app(database: Path) -> Iterator[Served]:
    """The application over that corpus."""
    from served_app import served

    with served(database) as running:
        yield running


@pytest.fixture
def client(app: Served) -> Iterator[httpx.Client]:
    """A client with a session."""
    with app.client() as opened:
        yield opened
