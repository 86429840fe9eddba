"""One process at a time for one job."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError


@contextlib.contextmanager
def job_lock(folder: Path, job: str) -> Iterator[None]:
    """Hold the job named `job` for as long as the block runs; a killed process lets go of it.

    Args:
        folder: where the lock is kept; made if need be.

    Raises:
        UsageError: another process holds it; its pid is told.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(os.fsencode(job)).hexdigest()[:16]
    # Beside the lock and not in it: opening a lock to try it empties it.
    holder = folder / f"{name}.pid"
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as exc:
        raise UsageError(
            f"process {_pid(holder)} is at work on {job}",
            hint="Wait for it, or stop it; what it has done is kept.",
        ) from exc
    try:
        holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _pid(holder: Path) -> str:
    try:
        return holder.read_text(encoding="ascii") or "(just started)"
    except OSError:
        return "(just started)"
