"""Fixtures of the tests of /evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluate_workspace import Workspace


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)
