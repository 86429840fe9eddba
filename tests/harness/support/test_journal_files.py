"""Lines that are appended to a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.support import journal_files
from harness.support.journal_files import append_lines, complete_lines


def test_lines_are_read_from_a_place(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert complete_lines(path) == []
    append_lines(path, b'{"n": 1}\n')
    append_lines(path, b'{"n": 2}\n', sync=False)
    assert complete_lines(path) == [b'{"n": 1}\n', b'{"n": 2}\n']
    assert complete_lines(path, 9) == [b'{"n": 2}\n']
    assert complete_lines(path, 18) == []


@pytest.mark.parametrize("block", [3, 64_000])
@pytest.mark.parametrize("before", [b"", b"one\n", b"one\ntwo\n"])
def test_an_incomplete_line_is_left_out_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes, block: int
) -> None:
    monkeypatch.setattr(journal_files, "BLOCK", block)
    path = tmp_path / "lines.jsonl"
    path.write_bytes(before + b"half of a line")
    assert b"".join(complete_lines(path)) == before
    append_lines(path, b"next\n")
    assert path.read_bytes() == before + b"next\n"
    path.write_bytes(before + b"half")
    append_lines(path, b"")
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "lines.jsonl"
    append_lines(path, b"one\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        append_lines(path, b"two\n")
    assert path.read_bytes() == b"one\n"
