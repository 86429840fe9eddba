"""The command as a process of its own, with data and configuration in its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.settings import CODE_ROOT


def environment_of(folder: Path) -> dict[str, str]:
    """Return an environment with data, configuration and registry.yaml in `folder`."""
    return {
        **os.environ,
        "HARNESS_DATA": str(folder / "data"),
        "HARNESS_CONFIG": str(folder / "config"),
        "HARNESS_REGISTRY": str(folder / "registry.yaml"),
    }


def start_agent(
    folder: Path,
    line: str,
    environment: dict[str, str],
    prepare: Callable[[], object] | None = None,
) -> subprocess.Popen[str]:
    """Start a line in `folder`, with pipes for stdout and stderr.

    Args:
        prepare: is called in the process before the command begins.
    """
    return subprocess.Popen(
        [sys.executable, str(CODE_ROOT / "agent.py"), line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )
