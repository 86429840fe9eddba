"""Files of an earlier commit are opened and continued: corpus, run log, registry, training run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_base import tiny_base
from repository import ROOT, TEST_DATA

EARLIER = TEST_DATA / "made_by_c0082a3"
NO_SERVER = "http://127.0.0.1:9"


class Project:
    """A folder with the earlier files, and the command run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "papers"
        shutil.copytree(EARLIER, self.folder)
        self.data, self.config = folder / "data", folder / "config"
        self.data.mkdir()
        self.config.mkdir()
        for name in ("corpus.db", "runs.db"):
            shutil.move(self.folder / name, self.data / name)

    def run(self, line: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a line as a process. Fails if the exit code is not `code`."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "agent.py"), "--json", line],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={
                **os.environ,
                "HARNESS_DATA": str(self.data),
                "HARNESS_CONFIG": str(self.config),
                "OLLAMA_HOST": NO_SERVER,
            },
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_corpus_has_the_same_statistics(project: Project) -> None:
    found = json.loads(project.run("/corpus stats").stdout)
    assert found == json.loads((EARLIER / "stats.json").read_text(encoding="utf-8"))


def test_a_corpus_is_searched(project: Project) -> None:
    found = project.run("/corpus search ledger --move method").stdout
    assert "Ledgers of tool calls" in found


@pytest.mark.usefixtures("model_files")
def test_an_annotated_table_needs_no_generation(project: Project) -> None:
    """The content keys of the model's own words are the same: every row is in the corpus."""
    line = "/annotate papers.csv --wording abstractive save to again.jsonl"
    summary = json.loads(project.run(line).stdout)
    assert (summary["done"], summary["made"]) == (3, 0)
    rows, again = (
        [json.loads(line) for line in (project.folder / name).read_text().splitlines()]
        for name in ("annotated.jsonl", "again.jsonl")
    )
    assert again == rows


@pytest.mark.usefixtures("model_files")
def test_a_curated_table_is_curated_again(project: Project) -> None:
    """The stored ballots belong to the corpus, whatever this version makes of them."""
    project.run("/curate annotated.jsonl save to again.csv")
    again = (project.folder / "again.csv").read_text(encoding="utf-8")
    assert again.splitlines()[0] == (EARLIER / "curated.csv").read_text().splitlines()[0]


def test_a_run_log_goes_on(project: Project) -> None:
    before = json.loads(project.run("/logs").stdout)
    assert any("/curate annotated.jsonl" in json.dumps(run) for run in before["runs"])


def test_a_registered_model_is_known(project: Project) -> None:
    shutil.copy(project.folder / "registry.yaml", project.config / "registry.yaml")
    assert "nanda-annotator-gguf" in project.run("/models").stdout


@pytest.mark.train
def test_a_killed_training_goes_on(project: Project) -> None:
    tiny_base(project.folder / "tiny")
    project.run("/finetune train killed_run --resume")
    metrics = (project.folder / "killed_run" / "metrics.jsonl").read_text().splitlines()
    steps = [row["step"] for row in map(json.loads, metrics) if "loss" in row]
    assert steps == sorted(set(steps))
    assert steps[-1] == 14
