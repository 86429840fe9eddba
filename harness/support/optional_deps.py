"""Optional dependencies, which an extra installs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from harness.errors import UsageError


def require(*modules: str, extra: str = "finetune") -> None:
    """Check that these modules are installed.

    Raises:
        UsageError: with the missing ones and the command that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"this needs {', '.join(missing)}, which {are} not installed",
            hint=f"`{install_command(extra)}` installs all that it needs.",
        )


def install_command(extra: str) -> str:
    """Return the command that installs an extra for the Python that runs this process.

    pip takes the name of an installed package as that package, so the command is the same in a
    checkout.
    """
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f'{shown} -m pip install "nanda-harness[{extra}]"'
