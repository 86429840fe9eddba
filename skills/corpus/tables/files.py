"""Open files that hold tables: the reader protocol, and text line by line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.errors import InputError
from harness.support import text_input
from harness.support.text_input import UTF16_OR_32, shown, unreadable
from skills.corpus.tables.columns import Column

_SAVE_AS_UTF8 = "Save it as UTF-8."


class Record(NamedTuple):
    """A row.

    Attributes:
        position: the line or row, from 1, where it begins.
        values: text for each column read; of a column of kind "object", what it holds.
    """

    position: int
    values: tuple[Any, ...]


class Reader(Protocol):
    """Reader of one format.

    Attributes:
        unit: what the position of a record counts, "line" or "row".
    """

    unit: str

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        Raises:
            InputError: the file is not of this format.
        """

    def records(self, columns: tuple[Column, ...]) -> Iterator[Record]:
        """Yield all rows from the beginning of the file, without keeping them in memory.

        Raises:
            InputError: a line or row cannot be read.
        """


def regular_file(path: Path) -> Path:
    """The path of a file that can be read more than once, "~" resolved.

    Raises:
        InputError: it is missing, empty, a folder or a pipe, or not to be read.
    """
    path = text_input.regular_file(path, instead="Save the table to a file and name that.")
    with text_input.reading(path):
        if not path.stat().st_size:
            raise InputError("is empty", where=shown(path), hint="Put the table into it.")
        with path.open("rb"):
            return path


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, which may be those of any system.

    Raises:
        InputError: it is not UTF-8 text, naming line and byte, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            if file.read(4).startswith(UTF16_OR_32):
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
