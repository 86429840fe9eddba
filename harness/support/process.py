"""Helpers for processes (cores, environment, locks, left-over files) and optional packages."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError

SPINS = "1000"
"""Number of times that an idle thread looks for work before it sleeps. On idle cores, this number
makes llama.cpp as fast as GNU OpenMP's default of 300,000 (140 tokens/s on two cores; 47 if threads
sleep immediately). With the default, a training step of torch takes 9 s on idle cores; while other
processes used the cores, the step had not ended after a minute.
"""
_limit: int | None = None


def with_modules(*folders: Path) -> dict[str, str]:
    """Return the environment of this process, with folders at the beginning of PYTHONPATH."""
    paths = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextmanager
def low_spin_openmp() -> Iterator[None]:
    """Make idle OpenMP threads sleep soon, for libraries first imported in the block.

    OpenMP reads its settings once, at the first import. The user's own settings are kept.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


def limit_cores(cores: int) -> None:
    """Let `available_cores` return at most `cores`, the number that a cluster has assigned."""
    global _limit
    _limit = max(1, cores)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return cores if _limit is None else min(cores, _limit)


@contextlib.contextmanager
def job_lock(folder: Path, job: str) -> Iterator[None]:
    """Lock the job named `job` during the block; the lock of a killed process is released.

    Args:
        folder: the folder of the lock file, which is created if it is missing.

    Raises:
        UsageError: another process holds the lock; the message contains its process id.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(os.fsencode(job)).hexdigest()[:16]
    # The process id is in a separate file, since trying to lock a file truncates it.
    holder = folder / f"{name}.pid"
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as exc:
        pid = ""
        with contextlib.suppress(OSError):
            pid = holder.read_text(encoding="ascii")
        raise UsageError(
            f"{job} is locked by process {pid or '(just started)'}",
            hint="Wait for the process, or stop it; finished work is kept.",
        ) from exc
    try:
        holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def is_alive(pid: int) -> bool:
    """Return True if a process with this id exists."""
    import psutil  # rarely needed and slow to import

    return psutil.pid_exists(pid)  # os.kill(pid, 0) would end the process on Windows


def remove_left_over(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders that killed processes have left in a folder.

    Each name matches the glob `pattern`, and contains a process id, such as 7 in ".7-a1b2.tmp".
    """
    for path in folder.glob(pattern):
        found = re.search(r"[.-](\d+)(-\w+)?(\.tmp)?$", path.name)
        if found and not is_alive(int(found[1])):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def require(*modules: str, extra: str = "finetune") -> None:
    """Check that modules are installed.

    Args:
        extra: the extra of this package that installs the modules.

    Raises:
        UsageError: a module is missing; the message contains the command that installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"this needs {', '.join(missing)}, which {are} not installed",
            hint=f"`{install_command(extra)}` installs all required packages.",
        )


def install_command(extra: str) -> str:
    """Return the command that installs an extra for the Python that runs this process.

    The command also works in a checkout, since pip finds the installed package by its name.
    """
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f'{shown} -m pip install "nanda-harness[{extra}]"'
