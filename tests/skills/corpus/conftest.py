"""Fixtures of the tests of /corpus."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from papers_server import PapersServer, serving

from skills.corpus.db.connection import open_corpus


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Open an empty corpus at `tmp_path / "corpus.db"`."""
    with open_corpus(tmp_path / "corpus.db") as opened:
        yield opened


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PapersServer]:
    """Serve as each of the sources of papers, without keys and pauses."""
    with serving(monkeypatch) as papers:
        yield papers
