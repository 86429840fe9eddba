"""Test what the parts in a folder hold, and which of them are refused or passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import UsageError
from skills.annotate.parts.rows import paper_key
from skills.annotate.parts.scan import Keys, check_first, scan


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
    assert (len(found.done), found.parts) == (3, 1)
    assert found.broken == sorted([broken, "part-empty.parquet"])
    assert node.folder.names() == [whole]  # the others have been renamed
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
