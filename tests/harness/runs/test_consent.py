"""Paths that a model may not write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import NotAllowed
from harness.permissions import refuse_protected


def test_a_hard_link_to_a_protected_file_is_refused(tmp_path: Path) -> None:
    """A hard link simulates `Skills` on a file system that ignores case."""
    kept = tmp_path / "registry.yaml"
    kept.write_text("models: {}")
    (tmp_path / "REGISTRY.yaml").hardlink_to(kept)
    with pytest.raises(NotAllowed, match=r"REGISTRY\.yaml"):
        refuse_protected("annotate", [tmp_path / "REGISTRY.yaml"], [kept])


def test_protection_ignores_case_of_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed):
        refuse_protected("annotate", [tmp_path / "Skills" / "new.md"], [tmp_path / "skills"])


def test_a_common_prefix_is_not_protected(tmp_path: Path) -> None:
    (tmp_path / "skills").mkdir()
    refuse_protected("annotate", [tmp_path / "skills.csv"], [tmp_path / "skills", tmp_path / "s"])
