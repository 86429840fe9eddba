"""Command line of a checkout: `python agent.py ["LINE"]`.

If this Python lacks a dependency, the `.venv` beside this file runs the command instead.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the command line and return its exit code."""
    if (code := hand_over(HERE / "agent.py")) is not None:
        return code
    from harness.cli import main

    return main.command()


def hand_over(script: Path) -> int | None:
    """Run `script` with the environment beside this file if this Python lacks a dependency.

    Returns: None if nothing is missing; 2 if there is no such environment, after an error message.
    """
    missing = [name for name in dependencies() if not _is_installed(name)]
    if sys.version_info < (3, 11):  # noqa: UP036  this file alone runs on older versions
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


def dependencies() -> list[str]:
    """Return the dependencies in pyproject.toml; none if the package was installed by pip."""
    project = HERE / "pyproject.toml"
    text = project.read_text(encoding="utf-8") if project.is_file() else ""
    section = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    return re.findall(r'^\s*"([\w.-]+)', section[1], re.MULTILINE) if section else []


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
