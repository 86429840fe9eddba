"""What a line gives a skill to read: its text, or the file that the text names."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError

SUFFIXES = (".txt", ".md")
TEXT_WORDS = 40
"""From this length on, what stands on the line is a text, whatever it ends in."""
MAX_BYTES = 1_000_000
"""Some 150,000 words: whatever is larger is no text for a small model, and is not read."""

_OTHER_SUFFIX = re.compile(r"\S*\w\.[A-Za-z][A-Za-z0-9]{0,7}")
_KNOWN_OTHERS = re.compile(
    r"\.(?:pdf|csv|tsv|jsonl?|parquet|xlsx?|docx?|odt|rtf|html?|xml|ya?ml|tex|bib|zip|gz)$", re.I
)
UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def given(text: str) -> str:
    """`text` itself, or what stands in the text file that it names.

    Raises:
        InputError: it names a file that cannot be read as text.
    """
    path = None if len(text.split()) >= TEXT_WORDS else path_in(text.strip())
    if path is None:
        return text
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path.suffix} files are not read here",
            where=shown(path),
            hint=f"Save it as {' or '.join(SUFFIXES)}.",
        )
    return read_text(path)


def path_in(text: str) -> Path | None:
    """The path that `text` is: by a suffix, a path separator without blanks, or a file there."""
    quoted = re.fullmatch(r"([\"'])([^\n]+)\1", text)
    name = quoted[2].strip() if quoted else text
    if not name or "\n" in name or "\0" in name:
        return None
    blanks = re.search(r"\s", name) is not None
    known = name.lower().endswith(SUFFIXES) or _KNOWN_OTHERS.search(name)
    separated = ("/" in name or os.sep in name) and not blanks
    if known or separated or _OTHER_SUFFIX.fullmatch(name) or is_file(name):
        return Path(name)
    return None


def is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # longer than a file name can be
        return False


def read_text(path: Path, *, what: str = "a text", shorten: str = "Give a part of it.") -> str:
    """The text of a file.

    Args:
        what: what it should hold, for what is said of one that does not.
        shorten: what to do about one that is too big.

    Raises:
        InputError: it is missing, a folder, empty, too big, no text, or not UTF-8.
    """
    where = shown(path)
    data = _bytes(path, what, shorten)
    if not data.strip():
        raise InputError("is empty", where=where, hint=f"Put {what} into it.")
    if data.startswith(UTF16_OR_32):
        raise InputError("is UTF-16 or UTF-32 text", where=where, hint="Save it as UTF-8.")
    if b"\0" in data:
        raise InputError(
            f"is a binary file (byte {data.index(0)} is 0)",
            where=where,
            hint=f"Give {what} as plain text.",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(
            f"is not UTF-8 text (byte {exc.start} is 0x{data[exc.start]:02x})",
            where=where,
            hint="Save it as UTF-8.",
        ) from exc


def _bytes(path: Path, what: str, shorten: str) -> bytes:
    path = regular_file(path, instead="Use - to read from a pipe.")
    with reading(path):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"has {size / 1e6:.1f} MB, too much for {what}", where=shown(path), hint=shorten
            )
        return path.read_bytes()


def regular_file(path: Path, *, instead: str) -> Path:
    """The path of a file that can be read more than once, "~" resolved.

    Args:
        instead: what to do about a pipe.

    Raises:
        InputError: it is missing, a folder or a pipe.
    """
    where = shown(path)
    with reading(path):
        path = path.expanduser()
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError("is a folder", where=where, hint="Name a file in it.")
    if not stat.S_ISREG(mode):
        raise InputError("is no regular file", where=where, hint=instead)
    return path


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say of a path what the system has against its being read.

    Raises:
        InputError: it does.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise InputError(
            "there is no such file", where=shown(path), hint="Is the path right from this folder?"
        ) from exc
    except RuntimeError as exc:  # "~nobody/x"
        raise InputError("there is no such home folder", where=shown(path)) from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise unreadable(path, exc) from exc


def unreadable(path: Path, exc: Exception) -> InputError:
    """The error for a file that the system does not let be read."""
    reason = getattr(exc, "strerror", None) or exc
    return InputError(f"cannot be read ({reason})", where=shown(path))


def shown(path: Path) -> str:
    """A path as messages show it, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "replace")
