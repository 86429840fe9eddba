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
import sys
from pathlib import Path

import httpx
import pytest

from harness.settings import CODE_ROOT

README = (CODE_ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which `python agent.py` and the examples are those of the repository."""
    for name in ("agent.py", "examples"):
        (tmp_path / name).symlink_to(CODE_ROOT / name)
    return tmp_path


def lines() -> list[list[str]]:
    """Return the arguments of each line of the quick start."""
    block = re.search(r"^## Quick start\n\n```sh\n(.+?)^```$", README, re.M | re.S)
    assert block
    found = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert all(words[:2] == ["python", "agent.py"] for words in found)
    return [words[1:] for words in found]


def start(clone: Path, words: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {
        "HARNESS_DATA": str(clone / "data"),
        "HARNESS_CONFIG": str(clone / "config"),
        "BROWSER": "true",  # the program that opens pages
    }
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(clone: Path, words: list[str], code: int = 0) -> str:
    """Run a line to its end; return its result, or the errors if it has another code than 0."""
    running = start(clone, words)
    out, err = running.communicate()
    assert running.returncode == code, (words, out, err)
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
    assert "/annotate FILE --model ft" in run(clone, finetune).splitlines()[-1]
    annotated = json.loads(run(clone, ["agent.py", "--json", "/annotate examples/abstract.txt"]))
    assert annotated["provenance"]["resolved"] == "nanda-selector"
