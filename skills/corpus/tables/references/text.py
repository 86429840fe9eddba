"""Decode reference files, which programs of all ages have written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator
from pathlib import Path

from harness.errors import InputError
from harness.support.reading.text_input import place, reading, shown

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(
    rb"^%[ %]*Encoding: *((?:ISO[-_]?8859[-_]?|Cp|windows-)\d{1,4}|MacRoman|KOI8[-_]?R|Shift_JIS"
    rb"|GB18030|GBK|Big5|EUC[-_](?:JP|KR))\b",
    re.IGNORECASE | re.MULTILINE,
)
"""The encoding in the first lines of a file by JabRef, unless it is UTF-8."""
_UNMARKED = {
    "utf-16-le": re.compile(rb"(?:[^\0]\0){2}"),
    "utf-16-be": re.compile(rb"(?:\0[^\0]){2}"),
}
"""How a file in UTF-16 without a mark begins: with letters of ASCII."""
GUESSED = "cp1252"
HEAD = 4096
BLOCK = 1 << 20


def decoded_lines(path: Path) -> Generator[str, None, None]:
    """Yield the lines of a file, each with "\\n" at its end.

    The encoding is that of a byte order mark, the one that JabRef declares, UTF-16 if every second
    byte is 0, UTF-8, or else Windows-1252, which includes Latin-1.

    Raises:
        InputError: it cannot be read, is binary, or is none of these.
    """
    with reading(path), path.open(encoding=encoding_of(path)) as lines:
        for number, line in enumerate(lines, start=1):
            if "\0" in line:
                raise InputError(
                    f"is a binary file (character {line.index(chr(0)) + 1} is 0)",
                    where=place(path, "line", number),
                    hint="Save it as UTF-8 text.",
                )
            yield line


def encoding_of(path: Path) -> str:
    """Return the name of the encoding of a file: one of those that `decoded_lines` reads.

    Raises:
        InputError: it cannot be read, or has bytes that no encoding accounts for.
    """
    with reading(path), path.open("rb") as file:
        head = file.read(HEAD)
    declared = _DECLARED.search(head)
    candidates: tuple[str, ...] = (
        next((name for mark, name in _MARKS.items() if head.startswith(mark)), ""),
        declared[1].decode() if declared else "",
        next((name for name, begins in _UNMARKED.items() if begins.match(head)), ""),
        "utf-8",
        GUESSED,
    )
    for name in candidates:
        if name and _decodes(path, name):
            return name
    raise InputError(
        "is neither UTF-8 nor Windows-1252 text", where=shown(path), hint="Save it as UTF-8."
    )


def line_end(path: Path) -> str:
    """Return what ends the first line of a file."""
    with reading(path), path.open(encoding=encoding_of(path)) as file:
        file.readline()
        return file.newlines if isinstance(file.newlines, str) else "\n"


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with reading(path), path.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeError:
            return False
    return True
