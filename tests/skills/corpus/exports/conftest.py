"""Fixtures of the tests of a vault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skills.corpus.exports import vault
from skills.corpus.records import Annotated
from skills.nanda.framework import nanda


@dataclass
class Saving:
    """Saves annotations to a vault.

    Attributes:
        ticks: the progress that was reported.
    """

    folder: Path
    ticks: list[str] = field(default_factory=list)

    def __call__(self, *items: Annotated, force: bool = False) -> str:
        """Save the papers, and return what is reported."""
        given: Iterable[Annotated] = items
        return vault.save(
            self.folder, nanda(), lambda: iter(given), force=force, tick=self.ticks.append
        )

    def contents(self) -> dict[str, tuple[bytes, int]]:
        """Return each note with the time of its last change."""
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.folder.rglob("*.md")
        }

    def text(self, name: str) -> str:
        return (self.folder / f"{name}.md").read_bytes().decode()


@pytest.fixture
def save(tmp_path: Path) -> Saving:
    return Saving(tmp_path / "vault")
