"""Fixtures of the tests of /curate."""

from __future__ import annotations

from pathlib import Path

import pytest
from curate_workspace import PANEL, Workspace

from skills.curate import panel


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An application in an empty folder, whose shipped panel is `PANEL`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    return Workspace(tmp_path)
