"""Artifacts of a run: digests of earlier stages' files, and room for the next files."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import InputError, OutputError
from harness.runs import targets
from skills.finetune.run.hardware import in_words
from skills.finetune.run.run_dir import RunDir
from skills.nanda.framework import sha256_of

SPARE = 1.02
"""Factor on the needed space: a file system uses more than the bytes of a file."""
WRITERS = ("train", "merge", "gguf", "quantize", "modelfile")
"""The stages whose files another stage reads."""


def need_disk(folder: Path, needed: int, what: str) -> None:
    """Raise OutputError if fewer than `needed` bytes are free for `what`, "the merged model"."""
    free = shutil.disk_usage(folder).free
    if free < needed * SPARE:
        raise OutputError(
            f"{what} needs {in_words(needed)} of disk space, and {in_words(free)} are free",
            where=str(folder),
            hint="Free some space, or choose a folder on another disk with --out.",
        )


def digest_of(run_dir: RunDir, stage: str, path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files in a folder.

    Args:
        stage: the stage that writes `path`, for the hint.

    Raises:
        InputError: `path` does not exist.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not files or not path.exists():
        raise InputError(
            "does not exist",
            where=str(path),
            hint=f"`/finetune {stage} {run_dir.folder}` writes it.",
        )
    digests = {str(file.relative_to(run_dir.folder)): file_digest(run_dir, file) for file in files}
    return digests.popitem()[1] if path.is_file() else sha256_of(digests)


def file_digest(run_dir: RunDir, path: Path) -> str:
    """Return the SHA-256 of a file, from the manifest if size and time match a stage's entry.

    Hashing a merged model of 15 GB takes a minute.
    """
    stat = path.stat()
    name = str(path.relative_to(run_dir.folder)) if path.is_relative_to(run_dir.folder) else ""
    for stage in WRITERS:
        entry = run_dir.entry(stage)
        kept = entry.outputs.get(name) if entry else None
        if kept and (kept.size, kept.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return kept.sha256
    return targets.digest(path)
