"""Attack the harness, and count the attacks that succeed.

    python bench/attack.py [AREA ...] [--seed N] [--short]

An area is a group of similar attacks, such as "formulas". Each module in bench/attacks lists its
areas in AREAS, as functions. The function of an area receives an empty folder and a seeded
`random.Random`, and yields the outcome of each try: None, or one line about the failure. Areas run
with a separate home, cache, data folder and configuration, and connect only to this machine.

Prints the number of tries, failures and seconds of each area, then the failures, and exits with 1
if a try failed. `--short` ends each area after a few tries and leaves out the areas in `LONG`;
`.ci/run` uses it.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = ROOT / "tests/support"
sys.path[:0] = map(str, (ROOT, SUPPORT, *filter(Path.is_dir, SUPPORT.iterdir())))

CACHE = Path(os.environ.get("HARNESS_CACHE") or Path.home() / ".cache/nanda-harness")
"""The user's cache of models; areas that need the embedded model link its files."""
Area = Callable[[Path, random.Random], Iterator[str | None]]
SHORT_TRIES = 2
SHORT_SECONDS = 2.0
"""Seconds after which `--short` ends an area, when the current try is finished."""
LONG = ("killed-curations", "killed-stages", "lost-nodes")
"""Areas with tries that take a minute.

Tests that are marked `slow`, `train` and `ray` cover the same faults.
"""
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "NANDA_CI_RUN", "SSL_CERT_FILE")
"""Environment variables that the attacked processes inherit."""
SHOWN = 400
"""Maximum number of characters of a printed failure."""


def find_areas() -> dict[str, Area]:
    """Return the areas of all modules in bench/attacks."""
    names = sorted(path.stem for path in (ROOT / "bench/attacks").glob("[!_]*.py"))
    modules = [importlib.import_module(f"bench.attacks.{name}") for name in names]
    return {name: area for module in modules for name, area in module.AREAS.items()}


def isolate(home: Path) -> None:
    """Set an environment without the user's files for this process and the processes it starts."""
    folders = {"HOME": "", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    own = {"HARNESS_CACHE": "cache", "HARNESS_DATA": "data", "HARNESS_CONFIG": "config"}
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {name: str(home / folder) for name, folder in {**folders, **own}.items()}
    os.environ.clear()
    os.environ.update(environment, XDG_DATA_HOME=str(home / "data"), GIT_CONFIG_NOSYSTEM="1")
    os.environ.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"))
    os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"


def attack(name: str, area: Area, seed: int, *, short: bool) -> list[str | None]:
    """Return the outcome of each try of an area; an exception counts as a failed try."""
    folder = Path(tempfile.mkdtemp(prefix="attack-")).resolve()
    outcomes: list[str | None] = []
    started = time.monotonic()
    try:
        isolate(folder / "home")
        (folder / "work").mkdir()
        tries = area(folder / "work", random.Random(f"{seed} {name}"))
        for outcome in itertools.islice(tries, SHORT_TRIES if short else None):
            outcomes.append(outcome)
            if short and time.monotonic() - started > SHORT_SECONDS:
                break
        tries.close()  # type: ignore[attr-defined]  # closing the generator may stop a server
    except Exception:  # noqa: BLE001 the other areas are still attacked
        outcomes.append(f"the attack itself failed: {traceback.format_exc(limit=-2)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def main() -> int:
    """Attack the areas, and print the table and the failures; return the exit code."""
    areas = find_areas()
    parser = argparse.ArgumentParser(
        description="Attack the harness, and count the attacks that succeed."
    )
    parser.add_argument(
        "areas", nargs="*", metavar="AREA", help=f"areas to attack: {', '.join(areas)}"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="end each area after a few tries")
    options = parser.parse_args()
    if unknown := set(options.areas) - set(areas):
        parser.error(f"unknown area {', '.join(sorted(unknown))}; choose from {', '.join(areas)}")
    print(f"seed {options.seed}\n{'area':32}{'tries':>8}{'failures':>10}{'seconds':>9}")
    failures, total, began = [], 0, time.monotonic()
    for name in options.areas or [one for one in areas if not (options.short and one in LONG)]:
        started = time.monotonic()
        outcomes = attack(name, areas[name], options.seed, short=options.short)
        failed = [f"{name}: {outcome}" for outcome in outcomes if outcome is not None]
        seconds = time.monotonic() - started
        print(f"{name:32}{len(outcomes):8,}{len(failed):10,}{seconds:9.0f}", flush=True)
        failures += failed
        total += len(outcomes)
    print(f"{'all':32}{total:8,}{len(failures):10,}{time.monotonic() - began:9.0f}")
    for failure in failures:
        print(" ".join(failure.split())[:SHOWN])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
