"""Measure the memory of a job over a large table (`bench/annotate.py --memory`).

    python bench/job_memory.py [ROWS ...] [--answers N]

For each number of ROWS, a separate process annotates a Parquet file of invented papers with a model
that answers immediately. The answers state only the claim, since the checks of eight moves would
take most of the time. Prints the peak memory of the process before and after the job, and the CPU
time per row. A paper takes about 15 kB in $TMPDIR.

With --answers N, the model becomes unavailable after N answers. So the whole table is read and
planned, but only N rows are annotated; then the table is read again for each target.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness.errors import ModelUnavailable  # noqa: E402
from harness.models.backend import OnText, Reply, Request  # noqa: E402
from harness.testing import FakeModel, fake_app  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402

SIZES = (1_000, 10_000, 100_000)
ROW_GROUP = 10_000


class Instant(FakeModel):
    """A model that answers with the first words of the abstract, until all answers are used up."""

    def __init__(self, answers: int) -> None:
        super().__init__(slots=4)
        self.numbers = itertools.count(1)
        self.answers = answers

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        if next(self.numbers) > self.answers:
            raise ModelUnavailable("all answers are used up")
        words = request.messages[1].content.split()
        moves = {**dict.fromkeys(nanda().names, nanda().not_stated), "claim": " ".join(words[:12])}
        return Reply(json.dumps(moves), "stop", len(words), 100, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the memory of a job over a large table")
    parser.add_argument("rows", type=int, nargs="*", default=SIZES)
    parser.add_argument("--answers", type=int)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--annotate", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_papers(options.write / "papers.parquet", *options.rows)
    elif options.annotate:
        annotate(options.annotate, options.answers)
    else:
        compare(options.rows, options.answers)


def compare(sizes: Sequence[int], most: int | None) -> None:
    """For each size, write a table and annotate it in separate processes; print the figures.

    Args:
        sizes: numbers of rows.
        most: maximum number of answers; None for an answer to each row.
    """
    print(f"{'rows':>9}{'annotated':>11}{'before':>10}{'peak':>10}{'time':>10}{'CPU a row':>12}")
    for rows in sizes:
        answers = rows if most is None else min(rows, most)
        with tempfile.TemporaryDirectory() as folder:
            script = [sys.executable, __file__]
            subprocess.run([*script, str(rows), "--write", folder], check=True)
            command = [*script, "--answers", str(answers), "--annotate", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        print(
            f"{rows:>9,}{answers:>11,}{found['before']:>7.1f} MB{found['peak']:>7.1f} MB"
            f"{found['seconds']:>8.1f} s{found['cpu'] / rows * 1000:>9.2f} ms",
            flush=True,
        )


def annotate(folder: Path, answers: int) -> None:
    """Annotate the table of a folder in this process, and print memory and time as JSON."""
    app, before = fake_app(folder, Instant(answers)), peak()
    started, used = time.perf_counter(), time.process_time()
    targets = f"save to {folder}/out.jsonl -o {folder}/out.csv"
    app.dispatch(f"/annotate {folder}/papers.parquet {targets}")
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    stderr: Any = app.screen.err
    assert f"{answers:,} done" in stderr.getvalue(), stderr.getvalue()
    print(json.dumps({"before": before, "peak": peak(), "seconds": seconds, "cpu": cpu}))


def write_papers(path: Path, rows: int) -> None:
    """Write invented papers, one row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("arxiv_id", "title", "abstract")])
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, rows, ROW_GROUP):
            numbers = range(begin, min(begin + ROW_GROUP, rows))
            writer.write_table(pa.Table.from_pylist(list(map(paper, numbers)), schema))


def paper(number: int) -> dict[str, str]:
    abstract = " ".join(f"word{number * 7 % 1000 + i} of study {number}" for i in range(40))
    return {"arxiv_id": f"{number}.x", "title": f"Paper {number}", "abstract": f"{abstract}."}


def peak() -> float:
    """Return the peak resident memory in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
