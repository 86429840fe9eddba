"""JSON files of bases and runs, from folders that may come from anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InputError
from skills.finetune.json_files import LARGEST, read_json
from skills.finetune.run_folder import MANIFEST, RunDir


def large(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    return path


def test_a_json_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1]}')
    assert read_json(tmp_path / "a.json") == {"a": [1]}


def test_what_could_block_or_fill_the_memory_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is not a regular file"):
        read_json(tmp_path / "pipe")
    with pytest.raises(OSError, match="it has more than 32 MB"):
        read_json(large(tmp_path / "large.json"))
    (tmp_path / "deep.json").write_text("[" * 1_000_000)
    with pytest.raises(ValueError, match="it is nested too deeply"):
        read_json(tmp_path / "deep.json")


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path) -> None:
    large(tmp_path / MANIFEST)
    with pytest.raises(
        InputError, match=r"manifest\.json: cannot be read \(it has more than 32 MB"
    ):
        RunDir(tmp_path, "").entry("train")
