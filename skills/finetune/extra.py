"""The packages that training needs and nothing else does."""

from __future__ import annotations

import importlib.util

from harness.errors import UsageError


def require(*modules: str) -> None:
    """Refuse to go on without these modules.

    Raises:
        UsageError: naming those that are missing, and the command that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this needs {', '.join(missing)}, which is not installed",
            hint='`pip install "nanda-harness[finetune]"`, in a checkout '
            '`.venv/bin/python -m pip install -e ".[finetune]"`, installs all that training needs.',
        )
