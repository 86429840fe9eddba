"""Locks that let one process at a time work on a job."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError


@contextlib.contextmanager
def job_lock(folder: Path, job: str) -> Iterator[None]:
    """Lock the job named `job` during the block; the lock of a killed process is released.

    Args:
        folder: for the lock file; created if it is missing.

    Raises:
        UsageError: another process holds the lock; the message names its process id.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(os.fsencode(job)).hexdigest()[:16]
    # The process id needs a file of its own: trying to lock a file truncates it.
    holder = folder / f"{name}.pid"
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as exc:
        raise UsageError(
            f"{job} is locked by process {_pid(holder)}",
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
