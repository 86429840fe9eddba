"""Kill a running job, fill its disk and damage its database, and count lost rows.

    python bench/crash.py [--rows N] [--kills N] [--writes N] [--flips N] [--seed N]

A fake server with OpenAI's protocol answers a job of /annotate with 8 workers. The job

- is killed (SIGKILL) at random moments and started again with the same line;
- is killed while it writes its target;
- runs on a full disk: a tmpfs if this process may mount one, otherwise a limit of file size;
- runs in two processes at the same time;
- runs with a corpus database that was damaged between two runs.

Prints the numbers of rows that are lost, doubled and out of order after the last run, and exits
with 1 if one of these numbers is not 0.

tests/bench/test_crash.py runs a small part of this benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = ROOT / "tests" / "support"
sys.path[:0] = map(str, (ROOT, *(SUPPORT / n for n in ("annotate", "processes", "servers"))))

from agent_process import environment_of, start_agent  # noqa: E402
from annotate_workspace import Annotator, paper, write_registry, write_table  # noqa: E402
from protocol_server import ProtocolServer  # noqa: E402

from skills.nanda.framework import nanda  # noqa: E402

WORKERS = 8
LONGEST = 600
"""Seconds after which a process counts as hanging."""
SMALL_DISK = 1 << 20
LINE = f"/annotate papers.csv --workers {WORKERS} save to out.jsonl"


@dataclass
class Outcome:
    """The output and exit code of a process."""

    code: int
    stderr: str


@dataclass
class Workspace:
    """A folder with a table of `rows` papers, and processes that annotate it.

    Attributes:
        data: the folder of the corpus database.
    """

    folder: Path
    server: ProtocolServer
    model: Annotator
    rows: int
    data: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        write_table(self.folder / "papers.csv", *map(paper, range(self.rows)))
        write_registry(self.folder, self.server.url)

    @property
    def corpus(self) -> Path:
        return self.data / "corpus.db"

    def start(self, line: str = LINE, limit: int = 0) -> subprocess.Popen[str]:
        """Start a line in a process; with a `limit`, no file may grow beyond this many bytes."""

        def limited() -> None:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        environment = {**environment_of(self.folder), "HARNESS_DATA": str(self.data)}
        return start_agent(self.folder, line, environment, limited if limit else None)

    def run(self, line: str = LINE, limit: int = 0) -> Outcome:
        process = self.start(line, limit)
        try:
            _, stderr = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Outcome(-1, "it hangs")
        return Outcome(process.returncode, stderr)

    def kill(self, process: subprocess.Popen[str]) -> bool:
        """Kill a process; return False if the process had ended already."""
        running = process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return running

    def order(self, name: str = "out.jsonl") -> list[str]:
        """Return the ids of the target's rows."""
        text = (self.folder / name).read_text(encoding="utf-8")
        return [json.loads(line)["arxiv_id"] for line in text.splitlines()]


@dataclass(frozen=True)
class Faults:
    """The faults of a finished job.

    Attributes:
        lost, doubled: number of rows that are missing, or occur twice, in target and database.
        unordered: number of rows of the target that are out of order.
        notes: descriptions of other faults.
    """

    lost: int
    doubled: int
    unordered: int
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.unordered or self.notes)

    def __str__(self) -> str:
        found = f"lost {self.lost}, doubled {self.doubled}, out of order {self.unordered}"
        return "; ".join((found, *self.notes))


def checked(work: Workspace, *notes: str) -> Faults:
    """Compare target and database with the table; return the faults, including `notes`."""
    wanted = [paper(number)["arxiv_id"] for number in range(work.rows)]
    found = work.order() if (work.folder / "out.jsonl").exists() else []
    db = sqlite3.connect(work.corpus)
    with contextlib.closing(db):
        sql = "SELECT CAST(integrity_check AS BLOB) FROM pragma_integrity_check"
        sound = db.execute(sql).fetchone()[0].decode(errors="replace")
        stored, keys = db.execute(
            "SELECT count(*), count(DISTINCT key) FROM annotations"
        ).fetchone()
        moves = db.execute("SELECT count(*) FROM moves").fetchone()[0]
    if sound != "ok":
        notes += (f"the database is damaged: {sound}",)
    if moves != stored * len(nanda().names):
        notes += (f"{moves} moves of {stored} annotations",)
    lost = len(set(wanted) - set(found)) + max(0, work.rows - keys)
    doubled = len(found) - len(set(found)) + stored - keys
    unordered = sum(one > other for one, other in itertools.pairwise(found))
    return Faults(lost, doubled, unordered, notes)


def kills(work: Workspace, count: int, chance: random.Random) -> Faults:
    """Kill a job `count` times: during its start, while rows arrive, and while they are stored."""
    killed = 0
    while killed < count:
        done = sum(work.model.counts.values())
        process = work.start()
        if chance.random() < 0.25:
            time.sleep(chance.uniform(0, 1.5))
        else:
            left = max(1, work.rows - len(work.model.counts))
            more = done + chance.uniform(0, 2 * left / (count - killed + 1))
            while process.poll() is None and sum(work.model.counts.values()) <= more:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.1))
        work.kill(process)
        killed += 1
    ended = work.run()
    again = sum(work.model.counts.values()) - work.rows
    notes = [f"exit code {ended.code}: {ended.stderr[-300:]}"] * bool(ended.code)
    if again > count * WORKERS * 2:
        notes.append(f"{again} requests were repeated")
    print(f"  {killed} kills, {again} requests sent again")
    return checked(work, *notes)


def write_kills(work: Workspace, count: int, chance: random.Random) -> Faults:
    """Repeat a finished job, kill it `count` times while it writes its target; return the faults.

    A temporary file beside the target exists while the target is written. The target itself must
    always be complete, and the last run must remove the temporary files of the killed runs.
    """
    ended = work.run()
    notes = [f"exit code {ended.code}: {ended.stderr[-300:]}"] * bool(ended.code)
    hit = 0
    for _ in range(count):
        before = {*work.folder.glob(".*.tmp")}
        process = work.start()
        while process.poll() is None and not {*work.folder.glob(".*.tmp")} - before:
            time.sleep(0.001)
        time.sleep(chance.choice((0, chance.uniform(0, 0.05))))
        hit += work.kill(process)
        if len(work.order()) != work.rows:
            notes.append("the target is not complete after a kill")
    print(f"  {hit} of {count} kills while the target was written")
    ended = work.run()
    notes += [f"exit code {ended.code}: {ended.stderr[-300:]}"] * bool(ended.code)
    notes += ["temporary files are left behind"] * any(work.folder.glob(".*.tmp"))
    return checked(work, *notes)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of `SMALL_DISK` bytes at `folder`; yield True if mounting is allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={SMALL_DISK}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def full_disk(work: Workspace) -> Faults:
    """Run a job until its disk is full, then free space and continue the job."""
    notes = []
    home = work.data
    with small_disk(work.folder / "disk") as mounted:
        how = "a tmpfs" if mounted else "a limit of file size (RLIMIT_FSIZE)"
        work.data = work.folder / "disk"
        ended = work.run(limit=0 if mounted else SMALL_DISK)
        if ended.code != 4 or str(work.corpus) not in ended.stderr:
            notes.append(f"on a full disk: exit code {ended.code}: {ended.stderr[-300:]}")
        shutil.copytree(work.data, home)
    work.data = home
    print(f"  {how} of {SMALL_DISK:,} bytes: {ended.stderr.splitlines()[-1][:160]}")
    before = sum(work.model.counts.values())
    ended = work.run()
    notes += [f"exit code {ended.code}: {ended.stderr[-300:]}"] * bool(ended.code)
    again = sum(work.model.counts.values()) - work.rows
    if again > WORKERS * 2 or not before:
        notes.append(f"{again} requests were repeated")
    return checked(work, *notes)


def two_processes(work: Workspace) -> Faults:
    """Run the same line in two processes at once.

    One process must be refused, with a message that names the other process.
    """
    first, second = work.start(), work.start()
    ended = []
    for process in (first, second):
        _, stderr = process.communicate(timeout=LONGEST)
        ended.append((process.returncode, stderr))
    notes = []
    codes = sorted(code for code, _ in ended)
    if codes != [0, 2] or not any("is locked by process" in stderr for _, stderr in ended):
        notes.append(f"exit codes {codes}: {[stderr[-200:] for _, stderr in ended]}")
    if most := [number for number, count in work.model.counts.items() if count > 1]:
        notes.append(f"{len(most)} rows were requested twice")
    return checked(work, *notes)


Damage = Callable[[Path, random.Random], None]


def _truncated(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(1, path.stat().st_size))


def _emptied(path: Path, chance: random.Random) -> None:
    os.truncate(path, 0)


def _no_header(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def _flipped(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 10, 200))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _zeroed_pages(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(3):
        start = chance.randrange(0, len(data), 4096)
        data[start : start + 4096] = bytes(min(4096, len(data) - start))
    path.write_bytes(data)


def _without_wal(path: Path, chance: random.Random) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


DAMAGES: dict[str, Damage] = {
    "truncated": _truncated,
    "emptied": _emptied,
    "zero header": _no_header,
    "flipped bytes": _flipped,
    "zeroed pages": _zeroed_pages,
    "-wal removed": _without_wal,
}


def damaged(work: Workspace, kind: str, chance: random.Random) -> tuple[str, Faults]:
    """Kill a job half-way, damage its database, and repeat the line until the job is complete.

    The line continues with the damaged file if SQLite can read the needed pages. Otherwise it must
    refuse the file, which is then set aside before the next run.

    Returns:
        A description of the result, and the faults at the end.
    """
    process = work.start()
    while process.poll() is None and sum(work.model.counts.values()) < work.rows // 2:
        time.sleep(0.005)
    work.kill(process)
    path, notes = work.corpus, []
    if kind != "-wal removed":  # move all data into the file that is damaged
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    DAMAGES[kind](path, chance)
    before, answers = path.read_bytes(), sum(work.model.counts.values())
    ended = work.run()
    if "Traceback" in ended.stderr:
        notes.append(f"a traceback: {ended.stderr[-300:]}")
    if ended.code == 0:
        return "completed", checked(work, *notes)
    reported = next((line for line in ended.stderr.splitlines()[::-1] if str(path) in line), "")
    if ended.code != 2 or "damaged" not in reported or "set-aside" not in reported:
        notes.append(f"exit code {ended.code}: {ended.stderr[-400:]}")
    if path.read_bytes() != before and answers == sum(work.model.counts.values()):
        notes.append("the damaged file was changed, though no row was added")
    before = path.read_bytes()
    aside = work.run("/corpus set-aside")
    kept = path.with_name(f"{path.name}.damaged-1")
    if aside.code or not kept.exists() or kept.read_bytes() != before:
        notes.append(f"not set aside: exit code {aside.code}: {aside.stderr[-300:]}")
    ended = work.run()
    notes += [f"exit code {ended.code}: {ended.stderr[-300:]}"] * bool(ended.code)
    return "refused, set aside, completed", checked(work, *notes)


@contextlib.contextmanager
def workspace(rows: int, seconds: float = 0.02) -> Iterator[Workspace]:
    model = Annotator(seconds, slots=WORKERS)
    with tempfile.TemporaryDirectory() as folder, ProtocolServer(model) as server:
        yield Workspace(Path(folder).resolve(), server, model, rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Kill a running job, fill its disk and damage its database."
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--writes", type=int, default=20)
    parser.add_argument(
        "--flips", type=int, default=10, help="number of runs of each random damage"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, worst = random.Random(options.seed), 0
    print(f"rows {options.rows}, workers {WORKERS}, seed {options.seed}")
    campaigns: dict[str, tuple[int, Callable[[Workspace], Faults]]] = {
        "killed at random moments": (options.rows, lambda w: kills(w, options.kills, chance)),
        "killed while writing": (options.rows, lambda w: write_kills(w, options.writes, chance)),
        "full disk": (options.rows, full_disk),
        "two processes": (options.rows // 10, two_processes),
    }
    for name, (rows, campaign) in campaigns.items():
        with workspace(rows) as work:
            faults = campaign(work)
        print(f"{name}: {faults}", flush=True)
        worst += bool(faults)
    for kind in DAMAGES:
        ends: Counter[str] = Counter()
        repeats = options.flips if kind in ("flipped bytes", "truncated", "zeroed pages") else 1
        found = []
        for _ in range(repeats):
            with workspace(options.rows) as work:
                how, faults = damaged(work, kind, chance)
            ends[how] += 1
            found += [faults] if faults else []
        shown = ", ".join(f"{count} {how}" for how, count in ends.items())
        print(f"{kind}: {shown}; {found[0] if found else Faults(0, 0, 0)}", flush=True)
        for faults in found[1:]:
            print(f"  {faults}")
        worst += bool(found)
    print("rows lost, doubled, out of order: " + ("see above" if worst else "0, 0, 0"))
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
