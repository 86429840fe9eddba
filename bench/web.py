"""Measure the pages of /serve over many papers, in headless Chromium.

    python bench/web.py [--papers 100000] [--db FILE] [--runs 9]

Prints for each page the median and maximum time until the first paint and until the page is loaded.
Also prints the ratio of the loading time to the loading time of a page that reads one row. The
corpus is invented (bench/corpus.py) and kept at `--db`. Each run uses other words or filters, so
that /serve cannot reuse earlier counts. Targets for 100,000 papers: 300 ms to the first paint,
400 ms to load a filtered page. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / "support" / name) for name in ("", "pages"))]

from browser_page import Page, running_browser  # noqa: E402
from corpus import CATEGORIES, over_corpus  # noqa: E402
from served_app import served  # noqa: E402

PAINT_MS, PAGE_MS = 300, 400
SMALL = "a paper"
TIMES = """async () => {
  const paints = () => performance.getEntriesByName("first-contentful-paint");
  while (!paints().length) await new Promise((resolve) => setTimeout(resolve, 10));
  return [paints()[0].startTime, performance.getEntriesByType("navigation")[0].loadEventEnd];
}"""
YEARS = (2021, 2022, 2023, 2024, 2025)


def pages(words: list[str]) -> Mapping[str, Callable[[int], str]]:
    """Return for each page a function from the number of the run to the address of the page."""
    common, rare = words[:40], words[-400:]
    return {
        SMALL: lambda run: f"/papers/{run * 7 + 1}",
        "all papers": lambda run: "/papers",
        "a year": lambda run: f"/papers?year={YEARS[run % 5]}",
        "year, category, move": lambda run: (
            f"/papers?year={YEARS[run % 5]}&category={CATEGORIES[run % 9]}&move.limitation=stated"
        ),
        "newest": lambda run: f"/papers?sort=newest&category={CATEGORIES[run % 9]}",
        "a condition": lambda run: f"/papers?where=support%3C0.9{run:02}",
        "a frequent word": lambda run: f"/papers?q={common[run]}",
        "a frequent word of a year": lambda run: f"/papers?q={common[run + 20]}&year=2024",
        "a rare word": lambda run: f"/papers?q={rare[run]}",
    }


def words_of(path: Path) -> list[str]:
    """Return the words of some abstracts, the most frequent first."""
    with closing(sqlite3.connect(path)) as db:
        texts = db.execute("SELECT abstract FROM papers LIMIT 2000").fetchall()
    count: dict[str, int] = {}
    for (text,) in texts:
        for word in set(text.lower().replace(".", "").split()):
            count[word] = count.get(word, 0) + 1
    return sorted(count, key=lambda word: -count[word])


def timed(page: Page, address: str) -> tuple[float, float]:
    """Return the milliseconds until the first paint of a page, and until it is loaded."""
    answer = page.goto(address, wait_until="load")
    assert answer is not None
    assert answer.ok, address
    paint, loaded = page.evaluate(TIMES)
    return paint, loaded


def report(path: Path, runs: int) -> bool:
    """Print the measurements, and return True if all targets are met."""
    words, reached = words_of(path), True
    with served(path) as app, running_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(app.entrance("/papers/1"))
        print(f"{'page':<28}{'first paint':>16}{'loaded':>18}{'ratio':>8}")
        small = 0.0
        for name, address in pages(words).items():
            taken = [timed(page, app.origin + address(run)) for run in range(runs)]
            paints, loads = zip(*taken, strict=True)
            paint, loaded = statistics.median(paints), statistics.median(loads)
            small = small or loaded
            reached &= paint < PAINT_MS if name in (SMALL, "all papers") else loaded < PAGE_MS
            print(
                f"{name:<28}{paint:>7.0f} ({max(paints):>4.0f}) ms"
                f"{loaded:>8.0f} ({max(loads):>4.0f}) ms{loaded / small:>7.1f}x"
            )
    targets = f"first paint under {PAINT_MS} ms, filtered pages under {PAGE_MS} ms"
    print(f"{targets}: {'yes' if reached else 'no'}")
    return reached


if __name__ == "__main__":
    sys.exit(over_corpus(__doc__ or "", report, papers=100_000, runs=9))
