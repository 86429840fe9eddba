"""Append lines to a file, and read them, though a process may be killed while it writes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BLOCK = 64_000


def complete_lines(path: Path, start: int = 0) -> list[bytes]:
    """Return the lines of a file with their ends, without an incomplete last line.

    Args:
        start: the place in the file, in bytes, where a line begins.

    Returns:
        no lines if there is no file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read()
    except FileNotFoundError:
        return []
    return text[: text.rfind(b"\n") + 1].splitlines(keepends=True)


def append_lines(path: Path, text: bytes, *, sync: bool = True) -> None:
    """Append whole lines; an incomplete last line, of a process that was killed, is removed first.

    Args:
        text: the lines with their ends; b"" only removes an incomplete line.
        sync: return when they are on the disk.

    Raises:
        OSError: they cannot be written. The complete lines of the file are as they were.
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
