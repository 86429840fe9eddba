"""Append lines to a file, so that the complete lines remain if the process is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BLOCK = 64_000
"""Number of bytes that are read at once to find the end of the last complete line."""


def complete_lines(path: Path, start: int = 0) -> list[bytes]:
    """Return the lines of a file with their line endings, without an incomplete last line.

    Args:
        start: the offset in bytes of the beginning of the first returned line.

    Returns:
        The lines; [] if the file does not exist.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read()
    except FileNotFoundError:
        return []
    return text[: text.rfind(b"\n") + 1].splitlines(keepends=True)


def append_lines(path: Path, text: bytes, *, sync: bool = True) -> None:
    """Append complete lines, after removing an incomplete last line of a killed process.

    Args:
        text: the lines with their line endings; b"" only removes an incomplete line.
        sync: True to return only after the lines are on the disk.

    Raises:
        OSError: the lines cannot be written. The complete lines of the file are unchanged.
    """
    with path.open("a+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = file.seek(max(0, end - BLOCK))
            if found := file.read(end - start).rfind(b"\n") + 1:
                end = start + found
                break
            end = start
        if end == size and not text:
            return
        try:
            if end < size:
                file.truncate(end)
            file.write(text)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, end)
            raise
