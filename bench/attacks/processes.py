"""Attack by killing and interrupting commands, and by hostile documents.

Most areas use another program of bench/:

killed-jobs, killed-writes, two-jobs: bench/crash.py.
killed-curations: kill /curate, with a judge on a fake server.
interrupted: bench/interrupt.py, with the user's models.
hostile-documents: bench/fuzz.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import curate_process
from curate_process import GOOD, PERSONAS, ROWS, WORKERS, Slow
from curate_workspace import ids
from fuzzed_documents import READERS, fuzz
from protocol_server import ProtocolServer

from bench import crash, interrupt
from bench.attack import CACHE

PAPERS = 100
GROUPS = (1, *[5] * 9)
"""For each job, the number of times it is killed before it is run to its end."""
DOCUMENTS = 300
"""Number of documents of each kind."""
INTERRUPTED = ("help", "annotate", "table", "session")
DELAYS = 4
AGAIN = WORKERS * 2 * PERSONAS + 2 * PERSONAS
"""Maximum number of votes that may be requested again after a kill.

These are the votes on annotations in progress, and the votes that measure the form of the judge.
"""
LONGEST = 60
"""Seconds after which a curation is killed even if it has few votes, as on a busy machine."""

Campaign = Callable[[crash.Workspace], crash.Faults]


def campaign(run: Campaign) -> str | None:
    """Run a function of bench/crash.py without its output; return the faults in words, or None."""
    with crash.workspace(PAPERS, 0.01) as work, contextlib.redirect_stdout(io.StringIO()):
        faults = run(work)
    return str(faults) if faults else None


def killed(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Run jobs of /annotate; kill each job the number of times in `GROUPS`, then complete it."""
    for kills in GROUPS:
        yield campaign(partial(crash.kills, count=kills, chance=chance))
        yield from [None] * (kills - 1)


def killed_writes(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Kill a job while it writes its target.

    The target must always be complete, and the last run must remove the temporary files.
    """
    for kills in GROUPS[:5]:
        yield campaign(partial(crash.write_kills, count=kills, chance=chance))
        yield from [None] * (kills - 1)


def two_jobs(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Run the same line in two processes at the same time."""
    for _ in range(7):
        yield campaign(crash.two_processes)


def interrupted(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Press Ctrl-C at random moments of commands that use the embedded models."""
    os.environ["HARNESS_CACHE"] = str(CACHE)
    # A background job of a shell ignores SIGINT; the commands would inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.write_inputs(folder, 4)
    bench = interrupt.Bench(folder, folder / "corpus.db", 20.0)
    for command in interrupt.COMMANDS:
        if command.name not in INTERRUPTED:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            outcomes = interrupt.measure(bench, command, DELAYS, chance.randrange(1 << 30))
        for one in outcomes:
            yield f"{command.name}: {'; '.join(one.faults)}" if one.faults else None


def curations(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Kill a curation several times, then run it to its end; no vote may be lost or doubled."""
    for number, kills in enumerate((1, 2, 3, 4, 5)):
        model, place = Slow(), folder / f"{number}"
        place.mkdir()
        with ProtocolServer(model) as server:
            server.owner = "vllm"
            work = curate_process.Workspace(place, server, chance.choice(("openai", "ollama")))
            for _ in range(kills):
                process = work.start()
                votes = model.asked.total() + chance.randrange(ROWS * PERSONAS // kills)
                began = time.monotonic()
                while process.poll() is None and model.asked.total() < votes:
                    time.sleep(0.005)
                    if time.monotonic() - began > LONGEST:
                        break
                process.kill()
                process.communicate()
            code, _, stderr = work.run()
            again = model.asked.total() - work.judged() * PERSONAS
        wrong = [f"code {code}: {stderr[-200:]}"] * (code != 0)
        if not code:
            wrong += ["another table"] * (work.ids() != ids(*GOOD))
            lost = work.query("SELECT count(*) FROM votes") != [(work.judged() * PERSONAS,)]
            wrong += ["votes are lost or doubled"] * lost
            wrong += ["a damaged database"] * (work.query("PRAGMA integrity_check") != [("ok",)])
            wrong += [f"{again} votes were requested again"] * (again > (kills + 2) * AGAIN)
        yield f"{kills} kills: {'; '.join(wrong)}" if wrong else None
        yield from [None] * (kills - 1)


def documents(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Read hostile SKILL.md files, registries, recipes and frameworks."""
    for number, kind in enumerate(READERS):
        place = folder / str(number)
        place.mkdir()
        try:
            count = fuzz(kind, DOCUMENTS, place).outcomes.total()
        except Exception as exc:  # noqa: BLE001 the document that caused a failure
            yield f"{kind}: {type(exc).__name__}: {exc}"
        else:
            yield from [None] * count


AREAS = {
    "killed-jobs": killed,
    "killed-writes": killed_writes,
    "two-jobs": two_jobs,
    "killed-curations": curations,
    "interrupted": interrupted,
    "hostile-documents": documents,
}
