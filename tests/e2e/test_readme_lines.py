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


def test_each_line_of_the_quick_start_works(clone: Path) -> None:
    ran = []
    for words in lines():
        command = words[-1].split()[0]
        ran.append(command)
        running = start(clone, words)
        if command == "/serve":
            assert running.stdout is not None
            with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client:
                assert "papers</h1>" in client.get(running.stdout.readline().strip()).text
            running.send_signal(signal.SIGINT)
        out, err = running.communicate()
        if command == "/finetune" and importlib.util.find_spec("torch") is None:
            assert running.returncode == 2
            assert '-m pip install "nanda-harness[finetune]"` installs' in err
        else:
            assert running.returncode == (130 if command == "/serve" else 0), (words, out, err)
        if command == "/corpus":
            assert out.strip()
    expected = ["/annotate", "/annotate", "/corpus", "/serve", "/curate", "/evaluate", "/finetune"]
    assert ran == expected

    annotated = [json.loads(line) for line in (clone / "annotated.jsonl").open(encoding="utf-8")]
    with (clone / "examples" / "papers.csv").open(encoding="utf-8", newline="") as table:
        assert len(annotated) == len([*csv.DictReader(table)])
    assert (clone / "annotated.html").is_file()
    assert "Annotation by nanda-harness:" in (clone / "notes.ris").read_text(encoding="utf-8")
    with (clone / "curated.csv").open(encoding="utf-8", newline="") as table:
        assert [*csv.DictReader(table)]
