"""Run folders, which may come from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.support.bounded_files import MAX_JSON_BYTES
from skills.finetune.run_folder import MANIFEST, RunDir


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(
        InputError, match=r"manifest\.json: cannot be read \(it has more than 32 MB"
    ):
        RunDir(tmp_path, "").entry("train")
