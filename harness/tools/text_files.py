"""Text files of a project as models read them."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import NamedTuple

from harness.errors import InputError
from harness.support.reading.bounded_files import read_bytes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LEGACY = "cp1252"
"""The encoding of text that is not in Unicode."""


class TextFile(NamedTuple):
    """Content of a text file, with its line ends, and its encoding."""

    text: str
    encoding: str


def read(path: Path, limit: int, shown: str) -> TextFile:
    """Read a text file of at most `limit` bytes.

    Args:
        shown: the path for messages.

    Raises:
        InputError: it is missing, a folder, too large, binary, or cannot be read.
    """
    if path.is_dir():
        raise InputError("is a folder", where=shown, hint="list_files lists it.")
    try:
        content = read_bytes(path, limit)
    except FileNotFoundError as exc:
        raise InputError(
            "there is no such file", where=shown, hint="list_files lists the files."
        ) from exc
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror}", where=shown) from exc
    found = decoded(content)
    if found is None:
        raise InputError(f"is a binary file of {len(content):,} bytes", where=shown)
    return found


def decoded(content: bytes) -> TextFile | None:
    """Return the text of a file's content, or None if it is binary."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        encoding = LEGACY
        text = content.decode(encoding, "replace")
    return None if "\0" in text else TextFile(text, encoding)
