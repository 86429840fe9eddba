"""A folder of parts: its files are whole or set aside, and those of another job refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import OutputError, UsageError
from skills.annotate.parquet_output.parts_folder import (
    Keys,
    PartsFolder,
    check_first,
    folder_url,
    new_run,
    paper_key,
    scan,
)


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


@pytest.mark.parametrize("protocol", ["memory://", "filecache::memory://"])
def test_a_url_of_fsspec(protocol: str) -> None:
    memory = PartsFolder(f"{protocol}parts-of-a-test")
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
        monkeypatch.setattr(PartsFolder, "_file_system", _unreachable)
        assert "cannot write into" in folder.problem("one")


def _unreachable(_: PartsFolder) -> None:
    raise PermissionError(13, "Permission denied")


def test_keys() -> None:
    keys = [bytes([n]) * 15 + b"\0" for n in range(200)]
    found = Keys(b"".join(keys[1::2]))
    assert len(found) == 100
    assert [key in found for key in keys] == [False, True] * 100
    assert b"x" * 16 not in Keys()


def test_done_and_failed_papers(node: Any, make_papers: Any) -> None:
    node.model.faults[1] = lambda: "no annotation"
    node.annotate(range(3))
    found = scan(node.folder, node.identity())
    keys = [paper_key(paper) for paper in make_papers(range(4))]
    assert [found.is_due(key, retry_failed=False) for key in keys] == [False] * 3 + [True]
    assert [found.is_due(key, retry_failed=True) for key in keys] == [False, True, False, False]
    assert len(set(keys)) == 4


def test_a_part_that_is_not_whole_is_passed_over(node: Any) -> None:
    node.annotate(range(3))
    [whole] = node.folder.names()
    node.annotate(range(3, 6))
    [broken] = set(node.folder.names()) - {whole}
    path = Path(node.folder.url, broken)
    path.write_bytes(path.read_bytes()[:-100])
    Path(node.folder.url, "part-empty.parquet").touch()
    found = scan(node.folder, node.identity())
    assert len(found.done) == 3
    assert found.broken == sorted([broken, "part-empty.parquet"])
    assert node.folder.names() == [whole]  # the broken parts have been renamed
    assert Path(node.folder.url, f"_broken-{broken}").exists()


def test_parts_of_another_job_are_refused(node: Any) -> None:
    node.annotate(range(2), max_tokens=20)
    with pytest.raises(UsageError, match="belongs to another job") as refused:
        scan(node.folder, node.identity())
    assert '"max_tokens": 20' in str(refused.value)
    assert node.folder.names()[0] in str(refused.value)
    with pytest.raises(UsageError, match="belongs to another job"):
        check_first(node.folder, node.identity())


def test_other_digests_and_frameworks_are_named(node: Any) -> None:
    node.annotate(range(2))
    identity = node.identity()
    other = {**identity, "key": "n1:0", "digests": {"gguf": "ab" * 32}}
    with pytest.raises(UsageError, match=r"digests .* instead of .*abab"):
        scan(node.folder, other)
    prompt = {**identity, "key": "n1:0"}
    with pytest.raises(UsageError, match="another job, with another prompt"):
        scan(node.folder, prompt)


def test_another_file_is_refused(node: Any) -> None:
    pq.write_table(pa.table({"id": ["1"]}), f"{node.folder.url}/mine.parquet")
    with pytest.raises(UsageError, match=r"mine\.parquet: is not a part"):
        scan(node.folder, node.identity())
