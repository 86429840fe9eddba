"""Fixtures of the tests of the web application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import browsed_corpus
import pytest
from evaluate_workspace import NOT, Workspace, gold

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


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two evaluations of a model: one like the gold, one with two bad answers and one invalid."""
    monkeypatch.chdir(tmp_path)
    made = Workspace(tmp_path, 12)
    made.evaluate("--models producer save to good.json")
    bad = json.dumps({**gold(1), "claim": "Heaps <b>are</b> high.", "method": NOT})
    mild = json.dumps({**gold(1), "claim": "Heaps <b>are</b> high."})
    made.model.faults = {1: lambda _: mild, 2: lambda _: bad, 3: lambda _: "nonsense"}
    made.evaluate("--db other.db --models producer save to bad.json")
    return made
