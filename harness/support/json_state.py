"""A small JSON file, replaced as a whole so that no reader sees a partial one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from harness.errors import OutputError


def read(path: Path) -> Any:
    """Return the content of the file, or None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write(path: Path, content: Any, what: str) -> None:
    """Replace the content of the file.

    Args:
        what: what is stored, for the error message: "the trust".

    Raises:
        OutputError: it cannot be written; the file is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{what} cannot be stored: {exc.strerror}", where=str(path)) from exc
