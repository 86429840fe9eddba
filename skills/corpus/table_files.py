"""Files that hold tables: what is refused before they are read, and their text, line by line."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.errors import InputError
from skills.corpus.columns import Wanted

_UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_SAVE_AS_UTF8 = "Save it as UTF-8."


class Record(NamedTuple):
    """One row: where it begins, a line or a row from 1, and the values of the wanted columns."""

    position: int
    values: tuple[str, ...]


class Reader(Protocol):
    """What reads one format.

    Attributes:
        unit: what a record's position counts, "line" or "row".
    """

    unit: str

    def header(self) -> tuple[str, ...]:
        """The names of the columns.

        Raises:
            InputError: the file is not of this format.
        """

    def records(self, wanted: tuple[Wanted, ...]) -> Iterator[Record]:
        """All rows, from the file's beginning, few of them in memory at a time.

        Raises:
            InputError: naming the line or row that cannot be read.
        """


def shown(path: Path) -> str:
    """A path as messages show it, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


def regular_file(path: Path) -> Path:
    """The path of a file that can be read more than once, "~" resolved.

    Raises:
        InputError: it is missing, empty, a folder or a pipe, or not to be read.
    """
    where = shown(path)
    try:
        path = path.expanduser()
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError("is a folder", where=where, hint="Name a file in it.")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(
                "is no regular file", where=where, hint="Save the table to a file and name that."
            )
        if not found.st_size:
            raise InputError("is empty", where=where, hint="Put the table into it.")
        with path.open("rb"):
            return path
    except FileNotFoundError as exc:
        raise InputError(
            "there is no such file", where=where, hint="Is the path right from this folder?"
        ) from exc
    except RuntimeError as exc:  # "~nobody/x"
        raise InputError("there is no such home folder", where=where) from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise unreadable(path, exc) from exc


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, which may be those of any system.

    Raises:
        InputError: it is not UTF-8 text, naming line and byte, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            if file.read(4).startswith(_UTF16_OR_32):
                raise InputError("is UTF-16 or UTF-32 text", where=shown(path), hint=_SAVE_AS_UTF8)
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, line in enumerate(lines, start=1):
                if "\0" in line:
                    raise InputError(
                        f"is a binary file (character {line.index(chr(0)) + 1} is 0)",
                        where=place(path, "line", number),
                        hint="Save it as UTF-8 text.",
                    )
                yield line
    except UnicodeDecodeError as exc:
        raise _not_utf8(path) from exc
    except OSError as exc:
        raise unreadable(path, exc) from exc


def place(path: Path, unit: str, position: int) -> str:
    """Where something stands, for people: "papers.csv, line 7"."""
    return f"{shown(path)}, {unit} {position}"


def unreadable(path: Path, exc: Exception) -> InputError:
    """The error for a file that the system does not let be read."""
    reason = getattr(exc, "strerror", None) or exc
    return InputError(f"cannot be read ({reason})", where=shown(path))


def _not_utf8(path: Path) -> InputError:
    """The error that names the first byte at fault: the decoder knows it only within its buffer."""
    number, offset = 1, 0
    with path.open("rb") as file:
        for line in file:
            try:
                line.decode()
            except UnicodeDecodeError as exc:
                return InputError(
                    f"is not UTF-8 text (byte {offset + exc.start} is 0x{line[exc.start]:02x})",
                    where=place(path, "line", number + _line_ends(line[: exc.start])),
                    hint=_SAVE_AS_UTF8,
                )
            number += _line_ends(line)
            offset += len(line)
    return InputError("is not UTF-8 text", where=shown(path), hint=_SAVE_AS_UTF8)


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
