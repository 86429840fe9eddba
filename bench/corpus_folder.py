"""Measure the commands of /corpus over a folder of Parquet parts (`corpus.py --papers`)."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from skills.corpus.parquet_store.index import open_index, place_of
from skills.corpus.parquet_store.parts import opened
from skills.corpus.search import filters
from skills.nanda.framework import nanda

Call = Callable[[], object]
TARGETS = {"search": 1.0, "filter": 2.0, "stats": 5.0}
"""Target times of whole commands over 5,000,000 annotations, in seconds."""


def report(folder: Path, words: Sequence[str], run: Callable[[str], Call], runs: int) -> None:
    """Index the parts in a folder, and print all measurements.

    Args:
        run: returns a call that runs a command in a separate process.
    """
    started = time.perf_counter()
    run(f"/corpus index {folder}")()
    print(f"indexed what was new in {time.perf_counter() - started:.0f} s")
    with open_index(folder, nanda()) as index:
        rows, count = sum(part.rows for part in index.parts), len(index.parts)
    of_parts, of_index = (
        sum(path.stat().st_size for path in where.glob("*") if path.is_file()) / 1e9
        for where in (folder, place_of(folder, nanda()))
    )
    print(f"{rows:,} annotations in {count} parts: {of_parts:.1f} GB, index {of_index:.1f} GB")
    print(f"{runs} runs each, after one to warm up; load {os.getloadavg()[0]:.1f}")
    lines = _lines(words)
    export = folder / "_export.jsonl"
    calls = {
        name: run(f"/corpus {line} --db {folder}".replace("EXPORT", str(export)))
        for name, line in lines.items()
    }
    print(f"\n{'whole commands':<50}{'median':>10}{'maximum':>10}{'processor':>12}")
    medians = _measure(calls, runs, resource.RUSAGE_CHILDREN)
    export.unlink(missing_ok=True)
    for what, target in TARGETS.items():
        worst = max(s for name, s in medians.items() if name.startswith(what))
        print(f"{what} under {target:g} s: {'yes' if worst < target else 'no'} ({worst:.2f} s)")
    print(f"\n{'without the start of Python':<50}{'median':>10}{'maximum':>10}{'processor':>12}")
    _measure(_library_calls(folder, lines), runs, resource.RUSAGE_SELF)


def _lines(words: Sequence[str]) -> dict[str, str]:
    """Return the lines of /corpus to measure, by label."""
    # `stop` is in two of three moves, `common` in one of eight, `other` in one of ten, and
    # `rare` in one of 15,000.
    stop, common, other, rare = words[0], words[14], words[17], words[-300]
    narrowed = "--move method --year 2024.. --category cs.DB"
    return {
        "search rare word": f"search {rare}",
        "search common word": f"search {common}",
        "search two common words": f"search {common} {other}",
        "search phrase of common words": f'search "{common} {other}"',
        "search stop word": f"search {stop}",
        "search common word --move --year --category": f"search {common} {narrowed}",
        "filter limitation=stated": "filter limitation=stated",
        "filter comparison~common": f"filter limitation=stated comparison~{common}",
        "filter year category support": "filter year=2024.. category=cs.CL support<0.88",
        "stats": "stats",
        "show the paper of a number": "show 77",
        "save 10,000 annotations": "filter limitation=stated --limit 10000 save to EXPORT --force",
    }


def _library_calls(folder: Path, lines: dict[str, str]) -> dict[str, Call]:
    """Return calls of the library's functions by label; each call opens the index."""

    def call(name: str, text: str) -> Call:
        def ask() -> object:
            with opened(folder, nanda()) as parts:
                if name == "stats":
                    return parts.statistics()
                if name == "filter":
                    return parts.select(filters.parse(text, nanda()))
                return parts.search(text, limit=20)

        return ask

    return {
        name: call(*line.partition(" ")[::2])
        for name, line in lines.items()
        if name.split()[0] in TARGETS and "--" not in line
    }


def _measure(calls: dict[str, Call], runs: int, who: int) -> dict[str, float]:
    """Print the times of `runs` runs of each call, and return the median wall seconds.

    Args:
        who: the argument of `getrusage`: the processes that the processor time includes.
    """
    medians = {}
    for name, call in calls.items():
        call()  # fill the file cache
        taken, used = [], []
        for _ in range(runs):
            started, before = time.perf_counter(), _processor_time(who)
            call()
            taken.append(time.perf_counter() - started)
            used.append(_processor_time(who) - before)
        medians[name] = statistics.median(taken)
        wall = f"{medians[name]:>8.2f} s{max(taken):>8.2f} s"
        print(f"{name:<50}{wall}{statistics.median(used):>10.2f} s")
    return medians


def _processor_time(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
