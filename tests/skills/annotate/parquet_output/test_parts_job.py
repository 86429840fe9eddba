"""Test what a node does with a batch: one part, whole, with annotations and failures."""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from annotate_workspace import Annotator

from harness.errors import ChecksumMismatch, ModelUnavailable, OutputError, UsageError
from harness.testing import fake_models
from skills.annotate.parquet_output.parts_folder import PartsFolder, part_schema, scan
from skills.annotate.parquet_output.parts_job import BatchAnnotator
from skills.corpus import importer
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import nanda


def rows(folder: PartsFolder) -> list[dict[str, Any]]:
    found = []
    for name in folder.names():
        found += pq.read_table(f"{folder.url}/{name}").to_pylist()
    return found


def raises(error: Exception) -> Callable[[], str]:
    def fault() -> str:
        raise error

    return fault


def test_a_batch_becomes_one_part(node: Any) -> None:
    found = node.annotate(range(3))
    assert (found["done"], found["failed"], found["completion_tokens"]) == (3, 0, 60)
    assert len(node.folder.names()) == 1
    ids = sorted(row["arxiv_id"] for row in rows(node.folder))
    assert ids == ["2401.00000", "2401.00001", "2401.00002"]
    assert {row["error"] for row in rows(node.folder)} == {""}


def test_a_failure_is_a_row_with_its_reason(node: Any) -> None:
    node.model.faults[1] = lambda: "no annotation"
    found = node.annotate(range(3))
    assert (found["done"], found["failed"], json.loads(found["errors"])) == (
        2,
        1,
        {"InvalidReply": 1},
    )
    [row] = [row for row in rows(node.folder) if row["error"]]
    assert (row["arxiv_id"], row["claim"]) == ("2401.00001", "")
    error = json.loads(row["error"])
    assert "gave no usable annotation" in error["reason"]
    assert (error["raw_reply"], error["key"][:3]) == ("no annotation", "n1:")


def test_a_batch_is_not_annotated_again(node: Any) -> None:
    """Ray repeats a batch whose worker was lost after it had written the part."""
    annotator = node.annotator()
    node.model.faults[1] = lambda: "no annotation"
    first = annotator(node.batch(range(3)))
    counts = dict(node.model.counts)
    again = annotator(node.batch(range(3)))
    assert (again["done"], again["failed"]) == (first["done"], first["failed"]) == (2, 1)
    assert node.model.counts == counts
    assert len(node.folder.names()) == 1


def test_what_is_done_is_kept_if_the_model_is_gone(node: Any) -> None:
    node.model.faults[2] = raises(ModelUnavailable("the server is gone"))
    annotator = node.annotator()
    found = annotator(node.batch(range(3)))
    assert isinstance(pickle.loads(found["error"]), ModelUnavailable)
    done = [row["arxiv_id"] for row in rows(node.folder)]
    assert "2401.00002" not in done
    assert len(done) == len(set(done)) <= 2


def test_another_run_has_taken_the_folder_over(node: Any) -> None:
    annotator = node.annotator()
    node.folder.take_over("20261127T130000-0000")
    error = pickle.loads(annotator(node.batch([1]))["error"])
    assert isinstance(error, OutputError)
    assert "another run writes into this folder" in str(error)
    assert node.folder.names() == []


def test_another_model_is_refused_before_the_first_paper(node: Any) -> None:
    other = Annotator()
    other.digests = {"fake": "1" * 64}
    served = fake_models(other, "annotate").run("annotate", lambda one: one)
    annotator = BatchAnnotator(node.job(), lambda: served, node.identity())
    error = pickle.loads(annotator(node.batch(range(3)))["error"])
    assert isinstance(error, ChecksumMismatch)
    assert "another model or version" in str(error)
    assert not other.counts


def test_a_move_with_the_name_of_a_column() -> None:
    moves = [move.model_copy(update={"name": "error"}) for move in nanda().moves[:1]]
    framework = nanda().model_copy(update={"moves": (*moves, *nanda().moves[1:])})
    with pytest.raises(UsageError, match="has a move 'error'"):
        part_schema(framework, "id", {})


def test_parts_are_added_to_a_corpus(node: Any, tmp_path: Path) -> None:
    node.model.faults[1] = lambda: "no annotation"
    node.annotate(range(3))
    node.model.faults.clear()
    with open_corpus(tmp_path / "corpus.db") as db:
        added = importer.add(db, Path(node.folder.url), nanda())
        assert (added.papers, added.annotations, added.failures) == (3, 2, 1)
        assert added.renamed == 0  # the annotations keep their provenance and keys
        again = importer.add(db, Path(node.folder.url), nanda())
        assert (again.papers, again.annotations, again.known_annotations) == (0, 0, 2)
        assert _counts(db) == (3, 2, 1)
        [row] = [row for row in rows(node.folder) if row["error"]]
        assert store.state(db, json.loads(row["error"])["key"]) == "failed"
        node.annotate([1], "20261127T130000-0000")  # as with --retry-failed
        assert importer.add(db, Path(node.folder.url), nanda()).annotations == 1
        assert _counts(db) == (3, 3, 0)
    found = scan(node.folder, node.identity())
    assert (len(found.done), len(found.failed)) == (3, 1)


def _counts(db: sqlite3.Connection) -> tuple[int, ...]:
    tables = ("papers", "annotations", "failures")
    return tuple(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables)
