"""The number of usable cores, and how OpenMP threads wait for work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = "1000"
"""How often an idle thread looks for work before it sleeps. On idle cores llama.cpp is as fast as
with GNU OpenMP's default of 300,000 (140 tokens/s on two cores; 47 if threads sleep at once). If
other processes use the cores, the default costs nine tenths of the speed and more: a training step
of torch that took 9 s had not ended after a minute."""


@contextmanager
def low_spin_openmp() -> Iterator[None]:
    """Make libraries that are first imported in this block yield to other processes.

    OpenMP reads its settings once, at the first import; the user's own settings are kept.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


_limit: int | None = None


def limit_cores(cores: int) -> None:
    """Let `available_cores` return at most `cores`: what a cluster has given to this process."""
    global _limit
    _limit = max(1, cores)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return cores if _limit is None else min(cores, _limit)
