"""Test which papers of a table are due, and in which batches."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import counting_reads, paper, write_table

from harness.errors import InputError
from skills.annotate.parquet_output.parts_folder import Keys, Scan, scan
from skills.annotate.parquet_output.ray_data import Counts, read_batches, write_batches
from skills.corpus.table import open_table

NOTHING = Scan(Keys(), Keys(), [])


def batches_of(
    folder: Path, *rows: dict[str, str], before: Scan = NOTHING, retry: bool = False, size: int = 8
) -> tuple[Counts, list[list[str]]]:
    """Return the counts of a table, and the ids of the papers that are due in batches."""
    table = open_table(write_table(folder / "papers.csv", *rows))
    is_due = partial(before.is_due, retry_failed=retry)
    counts = write_batches(folder / "batches.gz", table, before, is_due, size)
    batches = [json.loads(batch["papers"]) for batch in read_batches(folder / "batches.gz")]
    return counts, [[one["id"] for one in batch] for batch in batches]


def test_a_table_is_read_once_and_divided_into_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting_reads(monkeypatch) as reads:
        counts, found = batches_of(tmp_path, *map(paper, range(5)), size=2)
    assert reads == {"opened papers.csv": 1, "parsed papers.csv": 1}
    assert counts.chars == sum(len(paper(number)["abstract"]) for number in range(5))
    assert [len(batch) for batch in found] == [2, 2, 1]
    assert list(itertools.chain(*found)) == [paper(n)["arxiv_id"] for n in range(5)]


def test_papers_of_whole_parts_are_left_out(node: Any, tmp_path: Path) -> None:
    node.model.faults[1] = lambda: "no annotation"
    node.annotate([1, 3])
    before = scan(node.folder, node.identity())
    rows = [*map(paper, range(5))]
    counts, found = batches_of(tmp_path, *rows, before=before)
    assert found == [[paper(n)["arxiv_id"] for n in (0, 2, 4)]]
    assert (counts.rows, counts.done, counts.failed, counts.due) == (5, 1, 1, 3)
    _, again = batches_of(tmp_path, *rows, before=before, retry=True)
    assert again == [[paper(1)["arxiv_id"]]]


def test_rows_that_are_left_out_are_counted(tmp_path: Path) -> None:
    empty = {**paper(7), "abstract": ""}
    other = {**paper(1), "abstract": "An abstract of another paper with this id."}
    counts, found = batches_of(tmp_path, paper(1), paper(1), empty, other, paper(2))
    filtered, refused = counts.source.filtered, counts.source.refused
    assert filtered == {"repeats an earlier row": 1, "no abstract": 1, "refused": 1}
    assert (counts.rows, counts.due, len(refused)) == (2, 2, 1)
    assert found == [["2401.00001", "2401.00002"]]


def test_a_table_without_papers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row can be used: 1"):
        batches_of(tmp_path, {**paper(1), "abstract": ""})
