"""Optional dependencies, which an extra installs."""

from __future__ import annotations

import importlib.util

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
            hint=f'`pip install "nanda-harness[{extra}]"`, in a checkout '
            f'`.venv/bin/python -m pip install -e ".[{extra}]"`, installs all that it needs.',
        )
