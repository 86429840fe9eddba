"""Attack jobs by full disks, locked and damaged databases, and a damaged cache of models.

Each fault is caused during an /annotate job with a fake model. The job must exit with code 4, or
with code 2 and a remedy if the database is damaged, and its message must name the file. After the
fault is removed, the same command must complete the job without losing, repeating or reordering
rows, and without generating stored rows again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lora_gguf import write_adapter, write_base

from bench import crash
from harness.models.registry import FileEntry
from harness.models.weights import FileStore

ROWS = 60
SIZES = (64, 200, 400, 600, 1024, 2048)
"""Sizes of a small disk in KB, from no space for a database to space for a few rows."""
FIRST = "/annotate papers.csv --limit 1 save to first.jsonl"
"""A line that runs before an attack, so that the run log and the corpus exist."""
DAMAGES = 20
"""Number of times that a file of the cache is damaged."""


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """Mount a disk of `kilobytes` at `folder`; yield True if mounting is allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def wrong_end(ended: crash.Outcome, codes: tuple[int, ...] = (4,)) -> list[str]:
    """Return descriptions of faults in the exit code and stderr of a process."""
    wrong = [f"code {ended.code}: {ended.stderr[-250:]}"] * (ended.code not in codes)
    return wrong + ["a traceback"] * ("Traceback" in ended.stderr)


def resumed(work: crash.Workspace, line: str, notes: list[str]) -> str | None:
    """Run the line again after the attack; return a description of all faults, or None.

    Args:
        notes: descriptions of faults that were found during the attack.
    """
    ended = work.run(line)
    faults = crash.checked(work, *notes, *wrong_end(ended, (0,)))
    return str(faults) if faults else None


def full(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Fill the disk of the data folder or of the target, or limit the size of files."""
    places = [("data", size) for size in SIZES] + [("target", size) for size in (4, 12)]
    places += [("limit", size) for size in SIZES]
    for place, size in chance.sample(places, len(places)):
        with crash.workspace(ROWS, 0) as work:
            home, target = work.data, work.folder / "disk" / "out.jsonl"
            line, notes = crash.LINE, []
            with small_disk(work.folder / "disk", size) as mounted:
                if place == "limit":
                    ended = work.run(limit=size * 1024)
                elif not mounted:
                    continue
                elif place == "data":
                    work.data = work.folder / "disk"
                    ended = work.run()
                    shutil.copytree(work.data, home)
                    work.data = home
                else:
                    line = line.replace("out.jsonl", "disk/out.jsonl")
                    ended = work.run(line)
                    notes += ["half a target"] * target.exists()
                codes = (0, 4) if size >= 1024 else (4,)
                notes += wrong_end(ended, codes)
            if found := resumed(work, line.replace("disk/", ""), notes):
                yield f"{place} of {size} KB: {found}"
            else:
                yield None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@contextlib.contextmanager
def _read_only(path: Path) -> Iterator[None]:
    """Replace a folder with a file during the block; root ignores permissions of folders."""
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("no folder")
    yield
    path.unlink()


def locked(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Lock the run log or the corpus during a job, or make the data folder unusable."""
    for name in ("runs.db", "corpus.db"):
        for before in (True, False):
            with crash.workspace(ROWS, 0) as work:
                if before:
                    work.run(FIRST)
                with _locked(work.data / name):
                    ended = work.run()
                found = resumed(work, crash.LINE, wrong_end(ended, (4,)))
                yield f"{name} locked: {found}" if found else None
    with crash.workspace(ROWS, 0) as work:
        with _read_only(work.data):
            ended = work.run()
        found = resumed(work, crash.LINE, wrong_end(ended, (2, 4)))
        yield f"no folder for data: {found}" if found else None


def damaged(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Damage the corpus or the run log, with the damages of bench/crash.py.

    A damaged run log must not stop the job.
    """
    for kind in crash.DAMAGES:
        for _ in range(2):
            with crash.workspace(ROWS, 0.005) as work:
                _, faults = crash.damaged(work, kind, chance)
            yield f"corpus, {kind}: {faults}" if faults else None
        with crash.workspace(ROWS, 0) as work:
            work.run(FIRST)
            crash.DAMAGES[kind](work.data / "runs.db", chance)
            found = resumed(work, crash.LINE, [])
            yield f"run log, {kind}: {found}" if found else None


def _spoil(path: Path, chance: random.Random) -> str:
    """Damage a file, and return a word that describes the damage."""
    how = chance.choice(["truncated", "emptied", "changed", "longer", "another"])
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[chance.randrange(1, len(data)) :]
    elif how == "emptied":
        data.clear()
    elif how == "changed":
        for _ in range(chance.choice([1, 4000])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == "longer":
        data += b"x"
    else:
        data = bytearray(chance.randbytes(len(data)))
    path.write_bytes(data)
    return how


def cache(folder: Path, chance: random.Random) -> Iterator[str | None]:
    """Damage a merged model or a file beside it; the model must be made again, with a notice."""
    shapes = {"blk.0.attn_q.weight": (32, 3)}
    adapter = write_adapter(folder / "lora.gguf", shapes)
    base = write_base(folder / "base.gguf", shapes)
    entries = {"base": FileEntry(path=str(base)), "adapter": FileEntry(path=str(adapter))}
    notices: list[str] = []

    def merged() -> Path:
        return FileStore(entries, folder / "cache", notices.append).merged("base", "adapter")

    def made() -> str:
        return hashlib.sha256(merged().read_bytes()).hexdigest()

    sound = made()
    for _ in range(DAMAGES):
        path = chance.choice(sorted(merged().parent.glob("merged-*.gguf*")))
        how = _spoil(path, chance)
        notices.clear()
        wrong = [f"the {how} file was used"] * (made() != sound)
        wrong += [f"no notice of the {how} {path.suffix}"] * (merged().name not in str(notices))
        yield "; ".join(wrong) or None


AREAS = {
    "full-disks": full,
    "locked-databases": locked,
    "damaged-databases": damaged,
    "damaged-cache": cache,
}
