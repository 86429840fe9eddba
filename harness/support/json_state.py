"""A small JSON file, replaced as a whole so that no reader sees a partial one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from harness.errors import OutputError
from harness.support.reading.bounded_files import read_text

MAX_BYTES = 4_000_000
"""Maximum size of a file that is read."""


class Damaged(Exception):
    """The file exists and has no usable content; the text states why."""


def read(path: Path) -> Any:
    """Return the content of the file, or None if it is missing or damaged."""
    try:
        return load(path)
    except Damaged:
        return None


def load(path: Path) -> Any:
    """Return the content of the file, or None if it is missing.

    Raises:
        Damaged: it cannot be read, is too large, or is not JSON.
    """
    try:
        return json.loads(read_text(path, MAX_BYTES))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Damaged(f"cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise Damaged("is not JSON") from exc


def set_aside(path: Path) -> None:
    """Rename a damaged file to NAME.damaged, so that writing does not destroy it."""
    with contextlib.suppress(OSError):
        if path.is_file():
            path.replace(path.with_name(f"{path.name}.damaged"))


def write(path: Path, content: Any, what: str, *, mode: int = 0o666) -> None:
    """Replace the content of the file.

    Args:
        what: what is stored, for the error message: "the trust".
        mode: permissions of the file, before the umask.

    Raises:
        OutputError: it cannot be written; the file is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(mode)
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{what} cannot be stored: {exc.strerror}", where=str(path)) from exc
