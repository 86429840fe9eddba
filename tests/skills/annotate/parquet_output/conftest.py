"""Fixtures of the tests of parts: a folder, and what a node does with a batch, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Annotator, paper

from harness.models.served import ServedModel
from harness.testing import fake_models
from skills.annotate.parquet_output.parts_folder import PartsFolder
from skills.annotate.parquet_output.parts_job import BatchAnnotator, PartsJob
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

RUN = "20261127T120000-0000"


def served(model: Annotator) -> ServedModel:
    return fake_models(model, "annotate").run("annotate", lambda one: one)


def papers(numbers: Iterable[int]) -> list[Paper]:
    """Return papers as a table with a column arxiv_id gives them."""
    source = {"kind": "table", "path": "papers.csv", "row": "1"}
    rows = map(paper, numbers)
    return [Paper("arxiv_id", r["arxiv_id"], r["title"], r["abstract"], source) for r in rows]


class Node:
    """A node that annotates batches of `papers` into one folder."""

    def __init__(self, folder: PartsFolder, model: Annotator) -> None:
        self.folder, self.model = folder, model

    def job(self, run: str = RUN, **options: Any) -> PartsJob:
        return PartsJob(nanda(), self.folder, "arxiv_id", run, **options)

    def identity(self, **options: Any) -> dict[str, Any]:
        return self.job(**options).identity(served(self.model))

    def annotator(self, run: str = RUN, **options: Any) -> BatchAnnotator:
        self.folder.take_over(run)
        job = self.job(run, **options)
        return BatchAnnotator(job, lambda: served(self.model), self.identity(**options))

    def annotate(self, numbers: Iterable[int], run: str = RUN, **options: Any) -> dict[str, Any]:
        return self.annotator(run, **options)(self.batch(numbers))

    @staticmethod
    def batch(numbers: Iterable[int]) -> dict[str, str]:
        return {"papers": json.dumps([asdict(one) for one in papers(numbers)])}


@pytest.fixture
def folder(tmp_path: Path) -> PartsFolder:
    made = PartsFolder(str(tmp_path / "parts"))
    made.create()
    return made


@pytest.fixture
def node(folder: PartsFolder) -> Node:
    return Node(folder, Annotator(slots=2))


@pytest.fixture
def make_papers() -> Callable[[Iterable[int]], list[Paper]]:
    return papers
