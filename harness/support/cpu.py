"""How many threads are worth having, and how those of OpenMP wait for each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = "1000"
"""How often a thread looks for work before it sleeps. On idle cores llama.cpp is as fast so as with
GNU OpenMP's own 300,000 (140 tokens/s on two cores, and 47 if it sleeps at once); where other
processes want the same cores, that many cost nine tenths of the speed and more. A training step of
torch that took 9 s so had not ended after a minute without."""


@contextmanager
def giving_way() -> Iterator[None]:
    """Libraries first imported in here have threads that give way to other processes.

    OpenMP reads its settings once, when the first import loads it; the user's own are kept.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)  # another thread may be done with it already


def available_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
