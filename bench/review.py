"""Measure the time to open a review of the corpus, and to move from paper to paper.

    python bench/review.py [--papers 20000] [--db FILE] [--runs 5]

Prints the median processor time of each step, and its ratio to the first step, which reads all
annotations. The other steps must not read all annotations, so their ratios should be small. The
corpus is invented (bench/corpus.py) and kept at `--db`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from corpus import over_corpus, words_by_share  # noqa: E402

from skills.corpus.db.connection import open_corpus  # noqa: E402
from skills.corpus.tables.columns import Columns  # noqa: E402
from skills.curate.review.candidates import Candidates, read  # noqa: E402
from skills.curate.review.reviewer import Desk, Queue  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402

ALL = "every annotation"


def queue_of(path: Path, words: str = "") -> Candidates:
    return read(Path("corpus"), nanda(), Columns(), None, path, words=words)


def accept_next(desk: Desk) -> None:
    at = desk.next()
    assert at is not None
    desk.sheet(at)
    desk.accept(at)


def steps(path: Path, folder: Path) -> Mapping[str, Callable[[], object]]:
    """Return the steps by name; the first step reads all annotations."""
    with open_corpus(path) as db:
        words = [word for word, _ in words_by_share(db)]
    queue = Queue(nanda(), folder / "gold.csv", path, folder, lambda _: None)
    desk = queue.desk(queue_of(path), "ada")
    return {
        ALL: lambda: list(queue_of(path)),
        "open all": lambda: queue_of(path),
        f"open those with {words[0]!r}": lambda: queue_of(path, words[0]),
        f"open those with {words[-1]!r}": lambda: queue_of(path, words[-1]),
        "show a paper, accept it": lambda: accept_next(desk),
    }


def timed(step: Callable[[], object]) -> float:
    """Return the processor seconds of a step."""
    started = time.process_time()
    step()
    return time.process_time() - started


def report(path: Path, runs: int) -> dict[str, float]:
    """Print the measurements, and return the ratios."""
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = 0.0
        for name, step in steps(path, Path(folder)).items():
            seconds = statistics.median(timed(step) for _ in range(runs))
            whole = whole or seconds
            ratios[name] = seconds / whole
            print(f"{name:<32}{1000 * seconds:>9,.0f} ms{ratios[name]:>9.4f}")
    return ratios


if __name__ == "__main__":
    sys.exit(over_corpus(__doc__ or "", report, papers=20_000, runs=5))
