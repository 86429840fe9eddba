"""The command: `python agent.py ["LINE"]`.

Started by a Python without the dependencies, it runs again with the `.venv` beside it.
"""

from __future__ import annotations

import os
import signal
import sys

NEEDED = ("pluggy", "prompt_toolkit", "pydantic", "xllamacpp")
"""Packages whose presence shows that the dependencies are installed."""


def main() -> int:
    """Run the command line and return its exit code."""
    end_on_ctrl_c()  # before anything else is imported
    if (code := hand_over()) is not None:
        return code
    from harness.cli import main as cli

    return cli.command()


def end_on_ctrl_c() -> None:
    """Let Ctrl-C end the process while it starts, instead of raising an error in an import."""

    def end(*_: object) -> None:
        os.write(2, b"Interrupted.\n")
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)


def hand_over(script: os.PathLike[str] | None = None) -> int | None:
    """Run `script` with the `.venv` beside this file if this Python lacks the dependencies.

    Args:
        script: default: this file.

    Returns:
        None if nothing is missing, else the exit code, after printing how to install it.
    """
    import importlib.util
    from pathlib import Path

    here = Path(__file__).resolve().parent
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info < (3, 11):  # noqa: UP036  this file alone runs on older ones
        missing = ["Python 3.11"]
    if not missing:
        return None
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = here / ".venv" / scripts / ("python.exe" if os.name == "nt" else "python")
    if python.exists() and Path(sys.prefix) != here / ".venv":
        os.execv(python, [str(python), str(script or here / "agent.py"), *sys.argv[1:]])
    print(
        f"Error: this Python ({sys.executable}) lacks {', '.join(missing)}. Run `make install` in "
        f"{here}, or `{sys.executable} -m pip install -e {here}`.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
