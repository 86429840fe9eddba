"""Processes that read files of foreign formats: their start, their limits, and how they end.

A limit of memory or processor time ends such a process, and not the program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

from harness.settings import CODE_ROOT

MEMORY = 2 * 1024**3
"""Bytes of addresses that a process may use."""
SECONDS = 40
"""Processor time for one file."""


def arguments(module: str, *given: str) -> dict[str, Any]:
    """Return the arguments of `subprocess.Popen` that run a module of this program."""
    paths = [str(CODE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "args": [sys.executable, "-P", "-m", module, *given],
        "env": os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        "start_new_session": True,  # Ctrl-C is for the parent
    }


def limit(name: str, value: int) -> None:
    """Set the soft limit of a resource for this process, on systems that have limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))


def how_it_ended(code: int | None, library: str) -> str:
    """Describe how a reader process ended."""
    if code == -getattr(signal, "SIGXCPU", 0) or code == -getattr(signal, "SIGKILL", 0):
        return "it takes too long, or too much memory"
    if code is not None and code < 0:
        return f"{library} crashed ({signal.Signals(-code).name})"
    return f"the process that read it ended with exit code {code}"
