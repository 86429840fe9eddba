"""A small JSON file of the user's decisions: replaced whole, so that no reader sees half of it."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from harness.errors import OutputError


def read(path: Path) -> Any:
    """What the file holds; None where there is none, or a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write(path: Path, decisions: Any, what: str) -> None:
    """Put the decisions into the file.

    Args:
        what: what they are, for the error: "the trust".

    Raises:
        OutputError: they cannot be stored; the file is as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(decisions, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{what} cannot be stored: {exc.strerror}", where=str(path)) from exc
