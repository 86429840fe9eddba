"""The command: `python agent.py ["LINE"]`.

Started by a Python without the dependencies, it runs again with the `.venv` beside it.
"""

from __future__ import annotations

import os
import signal


def interrupted(*_: object) -> None:
    """End the process: Ctrl-C while it starts, which would show a traceback."""
    os.write(2, b"Interrupted.\n")
    os._exit(130)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as by nohup
    signal.signal(signal.SIGINT, interrupted)

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = ("pluggy", "prompt_toolkit", "pydantic", "xllamacpp")
"""Packages whose presence shows that the dependencies are installed."""


def main() -> int:
    """Run the command line and return its exit code."""
    if (code := hand_over(HERE / "agent.py")) is not None:
        return code
    from harness.cli import main as cli

    return cli.command()


def hand_over(script: Path) -> int | None:
    """Run `script` with the `.venv` beside this file if this Python lacks the dependencies.

    Returns:
        None if nothing is missing, else the exit code, after printing how to install it.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info < (3, 11):  # noqa: UP036  this file alone runs on older ones
        missing = ["Python 3.11"]
    if not missing:
        return None
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = HERE / ".venv" / scripts / ("python.exe" if os.name == "nt" else "python")
    if python.exists() and Path(sys.prefix) != HERE / ".venv":
        os.execv(python, [str(python), str(script), *sys.argv[1:]])
    print(
        f"Error: this Python ({sys.executable}) lacks {', '.join(missing)}. Run `make install` in "
        f"{HERE}, or `{sys.executable} -m pip install -e {HERE}`.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
