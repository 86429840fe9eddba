"""The lines of README's quick start, in their order, as a user runs them in a fresh clone."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from agent_process import start_agent

from harness.settings import CODE_ROOT

README = (CODE_ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the examples of the repository."""
    (tmp_path / "examples").symlink_to(CODE_ROOT / "examples")
    return tmp_path


def lines() -> list[str]:
    """Return the line of each command of the quick start."""
    block = re.search(r"^## Quick start\n\n```sh\n(.+?)^```$", README, re.M | re.S)
    assert block
    commands = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert all(words[:2] == ["python", "agent.py"] for words in commands)
    return [" ".join(words[2:]) for words in commands]


def start(clone: Path, line: str) -> subprocess.Popen[str]:
    own = {"HARNESS_DATA": str(clone / "data"), "HARNESS_CONFIG": str(clone / "config")}
    return start_agent(clone, line, {**os.environ, **own, "BROWSER": "true"})  # opens no browser


def run(clone: Path, line: str, code: int = 0) -> str:
    """Run a line to its end; return its result, or the errors if it has another code than 0."""
    running = start(clone, line)
    out, err = running.communicate()
    assert running.returncode == code, (line, out, err)
    return err if code else out


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as table:
        return [*csv.DictReader(table)]


@pytest.mark.timeout(600)
def test_each_line_of_the_quick_start_works(clone: Path) -> None:
    annotate, library, search, serve, curate, evaluate, dataset, finetune = lines()

    run(clone, annotate)
    annotated = (clone / "annotated.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(annotated) == len(read_table(clone / "examples" / "papers.csv"))
    assert (clone / "annotated.html").is_file()

    run(clone, library)
    assert "Annotation by nanda-harness:" in (clone / "notes.ris").read_text(encoding="utf-8")

    assert "evidence" in run(clone, search)

    serving = start(clone, serve)
    assert serving.stdout is not None
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client:
        assert "papers</h1>" in client.get(serving.stdout.readline().strip()).text
    serving.send_signal(signal.SIGINT)
    serving.communicate()
    assert serving.returncode == 130

    # The panel takes 15 CPU seconds for a paper.
    (clone / "annotated.jsonl").write_text(annotated[0] + "\n", encoding="utf-8")
    run(clone, curate)
    assert read_table(clone / "curated.csv")

    assert "ROUGE-L" in run(clone, evaluate)

    run(clone, dataset)
    assert (clone / "train.jsonl").is_file()
    if importlib.util.find_spec("torch") is None:
        assert '-m pip install "nanda-harness[finetune]"` installs' in run(clone, finetune, 2)


@pytest.mark.train
@pytest.mark.timeout(900)
def test_the_line_that_trains_works_and_is_no_default(clone: Path) -> None:
    annotate, *_, dataset, finetune = lines()
    for line in (annotate, dataset):
        run(clone, line)
    rows = (clone / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (clone / "train.jsonl").write_text("".join(rows[::20]), encoding="utf-8")  # to save minutes
    assert "/annotate FILE --model ft" in run(clone, finetune).splitlines()[-1]
    annotated = json.loads(run(clone, "/annotate examples/abstract.txt --json"))
    assert annotated["provenance"]["resolved"] == "nanda-annotator"
