"""Fixtures of the tests of /annotate."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_skill` keeps the corpus in the current folder."""
    monkeypatch.chdir(tmp_path)
