"""bench/job_memory.py measures a job of any size, also one whose model goes away."""

from __future__ import annotations

import subprocess
import sys

from harness.settings import CODE_ROOT


def test_it_prints_the_peak_memory_of_each_size() -> None:
    command = [sys.executable, "bench/job_memory.py", "20", "30", "--answers", "25"]
    done = subprocess.run(command, cwd=CODE_ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [("20", "20"), ("30", "25")]
    assert all(float(row[4]) > float(row[2]) > 10 for row in rows)  # peak MB, and MB before the job
