"""Read generated hostile SKILL.md files, registries, recipes and frameworks.

    python bench/fuzz.py [NUMBER] [--kind KIND ...]

Reading a document must succeed, or raise the documented error, within a limit of CPU time. NUMBER
documents of each kind (default 10,000) are read; every run reads the same documents. If a document
violates the rule, Hypothesis prints it and the program ends. Prints for each kind the frequency of
each outcome and the slowest document.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support/hostile")]

from fuzzed_documents import READERS, fuzz  # noqa: E402

SHOWN = 12
"""Maximum number of printed outcomes of a kind."""


def main() -> None:
    """Read the documents and print the outcomes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("number", nargs="?", type=int, default=10_000)
    parser.add_argument("--kind", action="append", choices=list(READERS))
    options = parser.parse_args()
    for kind in options.kind or READERS:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            tally = fuzz(kind, options.number, Path(folder))
        documents, seconds = tally.outcomes.total(), time.perf_counter() - started
        print(f"{kind}: {documents} documents in {seconds:.0f} s, none with another error")
        for outcome, count in tally.outcomes.most_common(SHOWN):
            print(f"{count:>8}  {outcome}")
        others = len(tally.outcomes) - SHOWN
        print(f"          and {others} other errors" if others > 0 else "", end="\n" * (others > 0))
        start = tally.slowest_document[:60]
        size = len(tally.slowest_document)
        print(f"  slowest: {tally.slowest * 1e3:.0f} ms of CPU, {size} bytes: {start!r}\n")


if __name__ == "__main__":
    main()
