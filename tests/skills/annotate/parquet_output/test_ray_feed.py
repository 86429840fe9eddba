"""Test which papers of a table are due, and in which batches."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import paper, write_table

from harness.errors import InputError
from skills.annotate.parquet_output.parts_folder import Keys, Scan, scan
from skills.annotate.parquet_output.ray_data import Input, batches, count
from skills.corpus.tables.columns import Columns

NOTHING = Scan(Keys(), Keys(), 0, [])


def table(tmp_path: Path, *rows: dict[str, str]) -> Input:
    return Input(write_table(tmp_path / "papers.csv", *rows), Columns())


def ids(found: Any) -> list[list[str]]:
    return [[one["id"] for one in json.loads(batch["papers"])] for batch in found]


def test_a_table_is_read_in_batches(tmp_path: Path) -> None:
    given = table(tmp_path, *map(paper, range(5)))
    found = ids(batches(NOTHING, table=given, retry_failed=False, size=2))
    assert [len(batch) for batch in found] == [2, 2, 1]
    assert list(itertools.chain(*found)) == [paper(n)["arxiv_id"] for n in range(5)]


def test_papers_of_whole_parts_are_left_out(node: Any, tmp_path: Path) -> None:
    node.model.faults[1] = lambda: "no annotation"
    node.annotate([1, 3])
    before = scan(node.folder, node.identity())
    given = table(tmp_path, *map(paper, range(5)))
    found = ids(batches(before, table=given, retry_failed=False, size=8))
    assert found == [[paper(n)["arxiv_id"] for n in (0, 2, 4)]]
    again = ids(batches(before, table=given, retry_failed=True, size=8))
    assert again == [[paper(1)["arxiv_id"]]]
    counts = count(given, before, retry_failed=False)
    assert (counts.rows, counts.done, counts.failed, counts.due) == (5, 1, 1, 3)


def test_rows_that_are_left_out_are_counted(tmp_path: Path) -> None:
    empty = {**paper(7), "abstract": ""}
    other = {**paper(1), "abstract": "An abstract of another paper with this id."}
    given = table(tmp_path, paper(1), paper(1), empty, other, paper(2))
    counts = count(given, NOTHING, retry_failed=False)
    assert counts.filtered == {"repeats an earlier row": 1, "no abstract": 1, "refused": 1}
    assert (counts.rows, counts.due, len(counts.refused)) == (5, 2, 1)
    assert ids(batches(NOTHING, table=given, retry_failed=False, size=8)) == [
        ["2401.00001", "2401.00002"]
    ]


def test_a_table_without_papers(tmp_path: Path) -> None:
    given = table(tmp_path, {**paper(1), "abstract": ""})
    with pytest.raises(InputError, match="no row has an abstract"):
        count(given, NOTHING, retry_failed=False)
