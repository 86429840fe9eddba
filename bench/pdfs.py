"""Measure the reading of PDF files: papers per second, and peak memory.

    python bench/pdfs.py [FOLDER] [--papers N]

Without a folder, N invented papers with two columns and twelve pages are written first; they have
the same text and different titles. Reads the papers twice: only abstracts, and abstracts with the
sections `SECTIONS`. Prints for each pass the time, the papers per second, the processor time per
paper, and the number of refused papers by reason; then the peak memory of this process and of the
process with PDFium.
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support" / "pdf")]

from pdf_papers import CONCLUSION, INTRODUCTION, LIMITATION, PdfPaper  # noqa: E402

from harness.errors import InputError  # noqa: E402
from skills.corpus.table import Columns, open_table  # noqa: E402

SECTIONS = ("limitation", "conclusion")
BODY = (
    ("1 Introduction", INTRODUCTION * 55),
    ("2 Conclusion", CONCLUSION),
    ("Limitations", LIMITATION),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--papers", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or written(Path(temporary), given.papers)
        for sections in ((), SECTIONS):
            report(folder, sections)
    for name, who in (("this process", resource.RUSAGE_SELF), ("PDFium", resource.RUSAGE_CHILDREN)):
        print(f"peak memory of {name}: {resource.getrusage(who).ru_maxrss / 1024:.0f} MB")


def written(folder: Path, papers: int) -> Path:
    for number in range(papers):
        PdfPaper(title=f"Invented Results on Shelf {number}", sections=BODY).write(
            folder / f"{number}.pdf"
        )
    return folder


def report(folder: Path, sections: tuple[str, ...]) -> None:
    """Read all papers of a folder, with these sections, and print the times."""
    begun, used = time.perf_counter(), processor_time()
    papers = found = 0
    refused: Counter[str] = Counter()
    for row in open_table(folder, Columns(sections=sections)).rows_or_errors():
        papers += 1
        if isinstance(row, InputError):
            refused[re.split(r"[:,]", row.message)[0]] += 1
        else:
            found += len(row.paper.sections)
    seconds = time.perf_counter() - begun
    what = "abstracts and sections" if sections else "abstracts"
    print(f"{what}: {papers} papers in {seconds:.1f} s, {papers / seconds:.1f} papers/s", end="")
    print(f", {1000 * (processor_time() - used) / papers:.0f} ms of processor time each", end="")
    print(f", {found} sections" * bool(sections))
    for reason, count in refused.most_common():
        print(f"    {count} refused: {reason}")


def processor_time() -> float:
    """Return the processor seconds of this process and of its ended child processes."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


if __name__ == "__main__":
    main()
