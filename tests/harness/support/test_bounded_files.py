"""Reading files and walking folders that may come from anywhere."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from hostile_files import NOT_FILES

from harness.support.bounded_files import (
    MAX_JSON_BYTES,
    Unsearched,
    read_bytes,
    read_json,
    read_text,
    walk,
)

REASONS = {
    "fifo": "it is not a regular file",
    "sparse": "it has more than 256 KB",
    "zeros": "it is not a regular file",
    "folder": "Is a directory",
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_no_small_file_is_refused(tmp_path, kind):
    NOT_FILES[kind](tmp_path / "file")
    with pytest.raises(OSError) as refused:
        read_bytes(tmp_path / "file", 256 * 1024)
    assert refused.value.strerror == REASONS[kind]


def test_limit_is_exact(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_bytes(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="it has more than"):
        read_bytes(path, 9)


def test_byte_order_mark_is_removed_and_line_ends_are_kept(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_text(path, 100) == "a\r\nb"


def tree(root):
    for name in ("b/c/deep", "a", "b/file"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "loop").symlink_to(root)
    return root


def test_walk_is_sorted_and_enters_no_link(tmp_path):
    root = tree(tmp_path)
    assert [*walk(root, 100)] == [
        (root, ["b", "loop"], ["a"]),
        (root / "b", ["c"], ["file"]),
        (root / "b" / "c", [], ["deep"]),
    ]


def test_walk_does_not_enter_a_removed_folder(tmp_path):
    for _, children, _ in (found := walk(tree(tmp_path), 100)):
        children.clear()
    assert [*found] == []


@pytest.mark.parametrize(("limit", "until"), [(50, math.inf), (10**9, 0.2)])
def test_walk_through_a_loop_of_links_ends(tmp_path, limit, until):
    root, seen = tree(tmp_path), []
    (root / "again").symlink_to(root)  # two such links would make 2 ** 40 folders
    found = walk(root, limit, until=time.monotonic() + until, follow_links=True)
    with pytest.raises(Unsearched, match=r"more than 50 entries|took too long"):
        seen.extend(folder for folder, _, _ in found)
    assert len(seen) > 1


def test_missing_folder_has_no_entries(tmp_path):
    assert [*walk(tmp_path / "none", 10)] == [(tmp_path / "none", [], [])]


def test_walk_ends_at_its_deadline(tmp_path):
    (tmp_path / "below").mkdir()
    with pytest.raises(Unsearched, match="took too long"):
        list(walk(tmp_path, 50, until=0.0))


def test_a_json_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1]}')
    assert read_json(tmp_path / "a.json") == {"a": [1]}


def test_a_json_file_that_could_block_or_fill_the_memory_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is not a regular file"):
        read_json(tmp_path / "pipe")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(OSError, match="it has more than 32 MB"):
        read_json(tmp_path / "large.json")
    (tmp_path / "deep.json").write_text("[" * 1_000_000)
    with pytest.raises(ValueError, match="it is nested too deeply"):
        read_json(tmp_path / "deep.json")
