"""Fixtures of the tests of /annotate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotate_workspace import Workspace
from arxiv_server import ArxivServer, running
from papers_server import PapersServer, serving


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_skill` keeps the corpus in the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def arxiv(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArxivServer]:
    """A server with arXiv's protocol, which is used instead of arXiv."""
    with running() as server:
        monkeypatch.setenv("HARNESS_ARXIV_URL", server.url)
        yield server


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch) -> Iterator[PapersServer]:
    """A server that is OpenAlex, Crossref, Semantic Scholar and PubMed."""
    with serving(monkeypatch) as server:
        yield server
