"""A folder to start the command in, as a user does who has a model of prepared answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.testing import FAKE_REGISTRY

GIST = "Rehearsing commands helps."
BACKEND = f"""
from harness import hookimpl
from harness.testing import FakeBackend, FakeModel

@hookimpl
def register_backends(register):
    register(FakeBackend(FakeModel({GIST!r})))
"""


def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the project, and point the environment at a configuration and data beside it."""
    config = folder / "config"
    monkeypatch.setenv("HARNESS_CONFIG", str(config))
    monkeypatch.setenv("HARNESS_DATA", str(folder / "data"))
    backend = config / "skills" / "fake"
    backend.mkdir(parents=True)
    (backend / "SKILL.md").write_text("---\nname: fake\ndescription: a prepared model\n---\n")
    (backend / "plugin.py").write_text(BACKEND)
    (config / "registry.yaml").write_text(FAKE_REGISTRY)
    (folder / "project").mkdir()
    return folder / "project"
