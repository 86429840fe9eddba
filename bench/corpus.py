"""Measure the corpus commands over many annotations.

    python bench/corpus.py [--annotations N] [--runs N] [--db FILE]
    python bench/corpus.py --papers N [--runs N] [--db FOLDER]

Builds a corpus of invented papers in FILE, which is used again if it exists. Prints the median and
maximum time and the processor time of repeated calls, first of functions of the library, then of
whole commands in new processes. Words are drawn by Zipf's law as measured in the gold data: the
most frequent word is in two of three moves, a frequent content word in one of ten. `store.save`
writes the rows. The results of the checks are invented, since real checks would take most of the
time. 100,000 annotations take 1.2 GB, and a few minutes to build. Missing vectors of the search by
meaning are computed first, and the speed is printed.

With --papers, the corpus is a folder of Parquet parts, written by corpus_generated.py. Existing
parts in FOLDER and their index are kept, so an interrupted run can be resumed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import corpus_folder
import corpus_generated
import corpus_meaning

from skills.corpus.corpus_store import Database
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus, transaction
from skills.corpus.records import Annotated, key_of
from skills.corpus.search import filters
from skills.corpus.search.fulltext import papers_about
from skills.corpus.search.query_syntax import Query, Years
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ROOT = Path(__file__).resolve().parent.parent
WORDS = 30_000
BATCH = 2_000
SEARCH_MS, STATS_MS = 50, 1000
"""Target times in milliseconds for 100,000 annotations."""
UNSTATED = {"limitation": 0.85, "comparison": 0.2, "implication": 0.15, "evidence": 0.15}
"""For some moves, the share of papers that do not state the move, as in the gold data."""
CATEGORIES = ("cs.CL", "cs.LG", "cs.SE", "cs.AI", "cs.IR", "cs.CV", "cs.HC", "cs.RO", "cs.DB")


class Inventor:
    """Generates papers of meaningless words; equal seeds give equal papers."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai", "or")]
        made: dict[str, None] = {}
        while len(made) < WORDS:
            made["".join(self._random.choices(syllables, k=self._random.randint(1, 4)))] = None
        self.words = list(made)
        weights = (1 / (rank + 2) for rank in range(WORDS))
        self._cumulated = list(itertools.accumulate(weights))

    def sentence(self) -> str:
        """Return 8 to 35 words, as in the moves of the gold data."""
        length = self._random.randint(8, 35)
        return " ".join(self._random.choices(self.words, cum_weights=self._cumulated, k=length))

    def annotated(self, number: int) -> Annotated:
        framework, draw = nanda(), self._random.random
        sentences = {name: self.sentence().capitalize() + "." for name in framework.names}
        moves = {
            name: framework.not_stated if draw() < UNSTATED.get(name, 0.01) else text
            for name, text in sentences.items()
        }
        year, month = self._random.choice((2021, 2022, 2023, 2024, 2024, 2025)), number % 12 + 1
        category = CATEGORIES[min(int(self._random.expovariate(0.5)), len(CATEGORIES) - 1)]
        paper = Paper(
            "arxiv_id",
            f"{year % 100}{month:02}.{number:05}",
            " ".join(self.sentence().split()[:9]).capitalize(),
            " ".join(sentences.values()),
            published=f"{year}-{month:02}-11",
            categories=f"{category}, stat.ML",
        )
        stated = framework.stated(moves)
        checks = {
            "unsupported_numbers": {name: ["7"] for name in stated if draw() < 0.01},
            "unsupported_names": {name: ["XY"] for name in stated if draw() < 0.02},
            "duplicate_moves": [],
            "support": {name: round(1 - draw() / 5, 3) for name in stated},
            "copied": {name: round(draw(), 3) for name in stated},
            "source": {
                name: {"index": i, "score": round(draw(), 3), "text": sentences[name]}
                for i, name in enumerate(stated)
            },
        }
        record = {"arxiv_id": paper.id, "title": paper.title, **moves, "checks": checks}
        return Annotated(paper, {**record, "provenance": _provenance(paper)})


def _provenance(paper: Paper) -> dict[str, Any]:
    made = corpus_generated.provenance(paper.sha256, "2026-01-01T00:00:00+00:00", paper.sha256)
    return {**made, "key": key_of(made)}


def build(path: Path, count: int) -> None:
    """Write `count` papers to the corpus at `path`."""
    inventor, started = Inventor(), time.perf_counter()
    with open_corpus(path) as db:
        for begin in range(0, count, BATCH):
            with transaction(db):
                for number in range(begin, min(begin + BATCH, count)):
                    store.save(db, inventor.annotated(number), nanda())
            print(f"\r{begin + BATCH:,} of {count:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"built {count:,} annotations in {time.perf_counter() - started:.0f} s")


def words_by_share(db: sqlite3.Connection) -> list[tuple[str, float]]:
    """Return each word with the share of stated moves that contain it, most frequent first."""
    db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'moves_fts', 'row')")
    stated = db.execute("SELECT count(*) FROM moves WHERE stated = 1").fetchone()[0]
    rows = db.execute("SELECT term, doc FROM temp.words ORDER BY doc DESC").fetchall()
    # The index also has words for facets, which end in 0. Invented words do not end in 0.
    return [(row["term"], row["doc"] / stated) for row in rows if not row["term"].endswith("0")]


def calls_of(
    db: sqlite3.Connection, shares: list[tuple[str, float]]
) -> dict[str, Callable[[], object]]:
    """Return the functions to measure, by label."""
    framework = nanda()

    def near(share: float) -> str:
        return min(shares, key=lambda word: abs(word[1] - share))[0]

    def found(text: str, narrowing: Mapping[str, Any] | None = None) -> Callable[[], object]:
        query = Query(text, **(narrowing or {}))
        return lambda: Database(db, framework).search(query)

    def met(text: str) -> Callable[[], object]:
        return lambda: Database(db, framework).select(filters.parse(text, framework))

    stop, second = shares[0][0], shares[1][0]
    common, other, rare = near(0.12), near(0.1), near(0.0001)
    narrow = {"moves": ["method"], "years": Years(2024)}
    narrower = {"moves": ["method"], "categories": ["cs.DB"], "years": Years(2024, 2024)}
    return {
        "search rare word": found(rare),
        "search rare word --move --year": found(rare, narrow),
        f"search common word (in {dict(shares)[common]:.0%} of moves)": found(common),
        "search common word --move --year": found(common, narrow),
        "search common word --move --year --category": found(common, narrower),
        "search two common words": found(f"{common} {other}"),
        "search phrase of common words": found(f'"{common} {other}"'),
        f"search stop word (in {shares[0][1]:.0%} of moves)": found(stop),
        "search stop word --move --year": found(stop, narrow),
        "search stop word --move --year --category": found(stop, narrower),
        "search two stop words --move --year --category": found(f"{stop} {second}", narrower),
        "search stop and common word --move --year --category": found(f"{stop} {common}", narrower),
        "search phrase of stop and common word": found(f'"{stop} {common}"'),
        "search phrase of stop words": found(f'"{stop} {second}"'),
        "papers about four words": lambda: papers_about(db, [common, other, near(0.01), rare], 10),
        "filter limitation=stated": met("limitation=stated"),
        "filter limitation=stated comparison~common": met(f"limitation=stated comparison~{common}"),
        "filter year category support": met("year=2024.. category=cs.CL support<0.88"),
        "stats": lambda: Database(db, framework).statistics(),
    }


def run(line: str) -> Callable[[], object]:
    """Return a function that runs a line of agent.py in a new process."""
    words = [sys.executable, "agent.py", "--no-log", line]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return lambda: subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, check=True)


def commands(path: Path, word: str) -> dict[str, Callable[[], object]]:
    """Return the commands to measure, by label."""
    return {
        line.replace(word, "common"): run(f"{line} --db {path}")
        for line in (
            f"/corpus search {word} --move method --year 2024..",
            f"/corpus search {word} --words --move method --year 2024..",
            f"/corpus search {word} --like",
            f"/corpus filter limitation=stated comparison~{word}",
            "/corpus stats",
        )
    }


def processor_seconds() -> float:
    """Return the processor time of this process and of all processes that it started."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + started.ru_utime + started.ru_stime


def measure(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Print the times of `runs` runs of each call, and return the median wall times in ms.

    Prints median and maximum of the wall time, and the median processor time, on which other
    processes have little influence.
    """
    medians = {}
    for name, call in calls.items():
        call()  # fill the file cache
        taken, used = [], []
        for _ in range(runs):
            started, before = time.perf_counter(), processor_seconds()
            call()
            taken.append((time.perf_counter() - started) * 1000)
            used.append((processor_seconds() - before) * 1000)
        medians[name], processor = statistics.median(taken), statistics.median(used)
        print(f"{name:<56}{medians[name]:>8.0f} ms{max(taken):>8.0f} ms{processor:>8.0f} ms")
    return medians


def report(path: Path, runs: int) -> None:
    """Print all measurements."""
    with open_corpus(path, must_exist=True) as db:
        count = db.execute("SELECT count(*) FROM annotations").fetchone()[0]
        size = path.stat().st_size / 1e6
        print(f"{count:,} annotations, {size:,.0f} MB; {runs} runs each, after one to warm up\n")
        corpus_meaning.index(db)
        print(f"{'the library':<56}{'median':>11}{'maximum':>11}{'processor':>11}")
        shares = words_by_share(db)
        word, rare = (min(shares, key=lambda k: abs(k[1] - share))[0] for share in (0.12, 0.0001))
        medians = measure(calls_of(db, shares), runs)
        by_meaning = corpus_meaning.calls_of(db, word, rare, Inventor(11).sentence())
        hybrid = measure(by_meaning, runs)
    print(f"\n{'whole commands':<56}{'median':>11}{'maximum':>11}{'processor':>11}")
    measure(commands(path.resolve(), word), max(3, runs // 3))
    slow = [n for n, ms in medians.items() if n.startswith("search") and ms >= SEARCH_MS]
    print(f"\nsearch under {SEARCH_MS} ms: {'not for ' + ', '.join(slow) if slow else 'all'}")
    slow = [name for name, ms in hybrid.items() if ms >= corpus_meaning.HYBRID_MS]
    under = f"hybrid, like and similar under {corpus_meaning.HYBRID_MS} ms"
    print(f"{under}: {'not for ' + ', '.join(slow) if slow else 'all'}")
    print(f"stats under {STATS_MS} ms: {'yes' if medians['stats'] < STATS_MS else 'no'}")


def over_corpus(
    description: str, report: Callable[[Path, int], object], papers: int, runs: int
) -> int:
    """Parse the command line, build an invented corpus, and call `report` with it.

    Return the exit code: 1 if `report` returns False, and 0 otherwise.

    Args:
        report: called with the path of the corpus and the value of `--runs`.
        papers, runs: the default values of `--papers` and `--runs`.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--papers", type=int, default=papers)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument(
        "--db", type=Path, help="corpus database; created if missing, and not deleted"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.db or Path(folder) / "corpus.db"
        if not path.exists():
            build(path, arguments.papers)
        return int(report(path, arguments.runs) is False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument(
        "--papers", type=int, help="number of papers in a folder of parts, instead of a database"
    )
    parser.add_argument(
        "--only-generate", action="store_true", help="with --papers: stop after writing the parts"
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--db", type=Path, help="database or folder; created if missing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.papers:
            parts = (arguments.db or Path(folder) / "parts").resolve()
            words = Inventor().words
            source = corpus_generated.Parts(words, UNSTATED, CATEGORIES)
            corpus_generated.generate(parts, arguments.papers, source)
            if not arguments.only_generate:
                corpus_folder.report(parts, words, run, max(3, arguments.runs // 3))
            return
        path = arguments.db or Path(folder) / "corpus.db"
        if not path.exists():
            build(path, arguments.annotations)
        report(path, arguments.runs)


if __name__ == "__main__":
    main()
