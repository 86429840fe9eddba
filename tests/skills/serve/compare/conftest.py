"""Fixtures of the tests of comparisons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluate_workspace import NOT, Workspace, gold


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
