"""Test the folder of parts: whole files, one run at a time, and what a node finds there."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import OutputError, UsageError
from skills.annotate.parts.folder import PartsFolder, folder_url, new_run


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("s3://bucket/parts", "s3://bucket/parts"),
        ("memory://parts/", "memory://parts"),
        ("/shared/parts/", "/shared/parts"),
    ],
)
def test_a_target_is_a_path_or_a_url(target: str, url: str) -> None:
    assert folder_url(Path(target)) == url


def test_a_relative_folder_is_the_same_on_every_node() -> None:
    assert folder_url(Path("parts/")) == str(Path.cwd() / "parts")


def test_only_the_latest_run_writes(folder: PartsFolder) -> None:
    folder.take_over("one")
    folder.write("part-1.parquet", b"1", "one")
    folder.take_over("two")
    with pytest.raises(OutputError, match="another run writes into this folder now"):
        folder.write("part-2.parquet", b"2", "one")
    folder.write("part-3.parquet", b"3", "two")
    assert folder.names() == ["part-1.parquet", "part-3.parquet"]
    assert files(folder) == ["_run", "part-1.parquet", "part-3.parquet"]


def test_what_a_killed_run_had_begun_is_removed(folder: PartsFolder) -> None:
    Path(folder.url, "_part-1.parquet.0a.tmp").write_bytes(b"half")
    Path(folder.url, "_broken-part-0.parquet").write_bytes(b"kept")
    folder.take_over("two")
    assert files(folder) == ["_broken-part-0.parquet", "_run"]
    assert folder.names() == []


def files(folder: PartsFolder) -> list[str]:
    return sorted(path.name for path in Path(folder.url).iterdir())


def test_later_runs_are_sorted_after_earlier_ones() -> None:
    assert new_run()[:8] + "T999999" > "20261127T154400-ffff"


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="is a file"):
        PartsFolder(str(file)).create()
    with pytest.raises(OutputError, match="cannot be created"):
        PartsFolder(str(file / "parts")).create()
    with pytest.raises(UsageError, match="nothing"):
        PartsFolder("nothing://parts").create()


def test_a_url_of_fsspec() -> None:
    memory = PartsFolder("memory://parts-of-a-test")
    memory.create()
    with memory.marked("one"):
        assert memory.problem("one") == ""
    assert "does not share the folder" in memory.problem("one")
    memory.take_over("one")
    memory.write("part-1.parquet", b"1", "one")
    assert memory.names() == ["part-1.parquet"]
    with memory.open("part-1.parquet") as stream:
        assert stream.read() == b"1"


def test_what_a_node_finds(folder: PartsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not share the folder" in folder.problem("one")
    with folder.marked("one"):
        assert folder.problem("one") == ""
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
        assert "has 1 MB free" in folder.problem("one")
        monkeypatch.setattr(PartsFolder, "_place", _unreachable)
        assert "cannot write into" in folder.problem("one")


def _unreachable(_: PartsFolder) -> None:
    raise PermissionError(13, "Permission denied")
