"""Locks that let one process at a time work on a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.settings import CODE_ROOT
from harness.support.process import job_lock

HOLD = """
import sys, time
from pathlib import Path
from harness.support.process import job_lock
with job_lock(Path(sys.argv[1]), "papers.csv"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=CODE_ROOT,
    )
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == "held\n"
    return process


def test_a_second_process_is_refused(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    try:
        with (
            pytest.raises(UsageError, match=f"papers.csv is locked by process {other.pid}"),
            job_lock(tmp_path, "papers.csv"),
        ):
            raise AssertionError("both hold it")
        with job_lock(tmp_path, "others.csv"):
            pass
    finally:
        other.kill()
        other.wait()


def test_the_lock_of_a_killed_process_is_released(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with job_lock(tmp_path, "papers.csv"):
        assert (next(tmp_path.glob("*.pid"))).read_text() == str(os.getpid())


def test_the_name_of_a_job_need_not_be_utf8(tmp_path: Path) -> None:
    with job_lock(tmp_path, os.fsdecode(b"caf\xe9.csv")):
        assert next(tmp_path.glob("*.pid")).read_text() == str(os.getpid())


def test_the_lock_is_released_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with job_lock(tmp_path / "new", "papers.csv"):
            raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fail()
    assert not list((tmp_path / "new").glob("*.pid"))
