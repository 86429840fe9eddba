"""The command: `python agent.py ["LINE"]`.

Started by a Python without the dependencies, it hands over to the `.venv` beside it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = (
    "arxiv",
    "datasketch",
    "filelock",
    "httpx",
    "krippendorff",
    "llguidance",
    "lxml",
    "numpy",
    "ollama",
    "openai",
    "platformdirs",
    "pluggy",
    "prompt_toolkit",
    "pyarrow",
    "pydantic",
    "rapidfuzz",
    "requests",
    "rich",
    "ruamel",
    "scipy",
    "sqlite_utils",
    "tenacity",
    "urllib3",
    "xllamacpp",
    "yaml",
)


def main() -> int:
    """Run the command line and return its exit code."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info < (3, 11):  # noqa: UP036  this file alone runs on older ones
        missing = ["Python 3.11"]
    if missing:
        return _hand_over(missing)
    from harness import cli

    return cli.main()


def _hand_over(missing: list[str]) -> int:
    """Start again with the environment beside this file, or say how to make one."""
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = HERE / ".venv" / scripts / ("python.exe" if os.name == "nt" else "python")
    if python.exists() and Path(sys.prefix) != HERE / ".venv":
        os.execv(python, [str(python), str(HERE / "agent.py"), *sys.argv[1:]])
    print(
        f"Error: this Python ({sys.executable}) lacks {', '.join(missing)}. Run `make install` in "
        f"{HERE}, or `{sys.executable} -m pip install -e {HERE}`.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
