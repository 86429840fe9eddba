"""Where nothing may be written for a model, by whatever name it gives the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import NotAllowed
from harness.runs import consent


def test_another_name_of_the_same_place_is_refused(tmp_path: Path) -> None:
    """A hard link stands for `Skills` on a disk that does not tell capitals apart."""
    kept = tmp_path / "registry.yaml"
    kept.write_text("models: {}")
    (tmp_path / "REGISTRY.yaml").hardlink_to(kept)
    with pytest.raises(NotAllowed, match=r"REGISTRY\.yaml"):
        consent.refuse_protected("annotate", [tmp_path / "REGISTRY.yaml"], [kept])


def test_capitals_make_no_other_place_of_one_that_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed):
        consent.refuse_protected(
            "annotate", [tmp_path / "Skills" / "new.md"], [tmp_path / "skills"]
        )


def test_what_only_begins_alike_is_another_place(tmp_path: Path) -> None:
    (tmp_path / "skills").mkdir()
    consent.refuse_protected(
        "annotate", [tmp_path / "skills.csv"], [tmp_path / "skills", tmp_path / "s"]
    )
