"""Whether there is room for what a stage writes, and what it reads is what another one has left."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import InputError, OutputError
from harness.runs import targets
from skills.finetune.run.run_dir import Out
from skills.nanda.framework import sha256_of

SPARE = 1.02
"""Of what is needed: file systems keep more than the bytes of a file."""


def need_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        needed: bytes.
        what: what needs them, "the merged model".

    Raises:
        OutputError: there are fewer.
    """
    free = shutil.disk_usage(folder).free
    if free < needed * SPARE:
        raise OutputError(
            f"{what} needs {in_words(needed)} of disk, and {in_words(free)} are free",
            where=str(folder),
            hint="Make room there, or give a folder on another disk with --out.",
        )


def in_words(size: float) -> str:
    """Bytes as a person says them: "98.4 MB", "15.2 GB"."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def digest_of(out: Out, stage: str, path: Path) -> str:
    """sha256 of a file, or of the names and contents of a folder's files, that a stage has left.

    A file that has the size and the time of the stage's entry is not read again: a merged model of
    15 GB takes a minute.

    Raises:
        InputError: it is not there.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not files or not path.exists():
        raise InputError(
            "is not there",
            where=str(path),
            hint=f"`/finetune {stage} {out.folder}` makes it.",
        )
    digests = {str(file.relative_to(out.folder)): _digest(out, stage, file) for file in files}
    return next(iter(digests.values())) if path.is_file() else sha256_of(digests)


def _digest(out: Out, stage: str, path: Path) -> str:
    entry = out.entry(stage)
    kept = entry.outputs.get(str(path.relative_to(out.folder))) if entry else None
    stat = path.stat()
    if kept and (kept.size, kept.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
        return kept.sha256
    return targets.digest(path)
