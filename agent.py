"""The command of the harness: `python agent.py ["LINE"]`.

If this Python lacks the dependencies, the command runs again with the Python of the `.venv` beside
this file.
"""

from __future__ import annotations

# Import nothing else here: until `forget_current_folder` has run, an import may find a module of
# the current folder.
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
NEEDED = ("pluggy", "prompt_toolkit", "pydantic", "xllamacpp")
"""If these packages are installed, all dependencies count as installed."""


def main() -> int:
    """Run the command line and return its exit code."""
    forget_current_folder()
    end_on_ctrl_c()
    if (code := hand_over(os.path.join(HERE, "agent.py"))) is not None:
        return code
    from harness.cli import main as cli

    return cli.command()


def end_on_ctrl_c() -> None:
    """Make Ctrl-C end the process with exit code 130 during start-up.

    Otherwise Ctrl-C would print the traceback of an import. An ignored signal stays ignored.
    """
    import signal

    def end(*_: object) -> None:
        os.write(2, b"Interrupted.\n")
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)


def forget_current_folder() -> None:
    """Prevent imports from the current folder, unless it has this file or installed packages.

    The function removes relative paths and the current folder from `sys.path` and from the
    PYTHONPATH of child processes, and adds the folder of this file to `sys.path`.
    """
    import site

    try:
        current = os.getcwd()
    except OSError:  # raised if the current folder was deleted
        current = ""
    installed = {HERE, os.path.dirname(os.__file__), *site.getsitepackages()}

    def is_kept(entry: str) -> bool:
        is_elsewhere = os.path.isabs(entry) and os.path.realpath(entry) != current
        return entry in installed or is_elsewhere

    sys.path[:] = filter(is_kept, sys.path)
    if HERE not in sys.path:
        sys.path.insert(0, HERE)
    inherited = os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    if kept := os.pathsep.join(filter(is_kept, inherited)):
        os.environ["PYTHONPATH"] = kept


def hand_over(script: str) -> int | None:
    """Continue with the Python of the `.venv` beside this file if dependencies are missing.

    The Python of the `.venv` then runs `script` in place of this process.

    Returns:
        None if all dependencies are installed. The exit code 2 if dependencies are missing and
            the `.venv` cannot help, since it is missing or already runs this process; a message
            then explains the installation.
    """
    import importlib.util
    from pathlib import Path

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info < (3, 11):  # noqa: UP036 only this file runs on older versions
        missing = ["Python 3.11"]
    if not missing:
        return None
    scripts = "Scripts" if os.name == "nt" else "bin"
    venv = Path(HERE, ".venv")
    python = venv / scripts / ("python.exe" if os.name == "nt" else "python")
    if python.exists() and Path(sys.prefix) != venv:
        # With -I, the Python of the `.venv` ignores PYTHONPATH and the user's site-packages, which
        # may contain packages for this Python.
        os.execv(python, [str(python), "-I", script, *sys.argv[1:]])
    print(
        f"Error: this Python ({sys.executable}) lacks {', '.join(missing)}. Run `make install` in "
        f"{HERE}, or `{sys.executable} -m pip install -e {HERE}`.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
