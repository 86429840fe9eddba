"""Detect the encoding of text files and the table format of texts, and read lines."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Callable, Generator
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import reading, shown, text_lines
from skills.corpus.tables.columns import Columns, find_columns

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # UTF-32 precedes UTF-16, whose mark is a prefix of this mark
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(
    rb"^%[ %]*Encoding: *((?:ISO[-_]?8859[-_]?|Cp|windows-)\d{1,4}|MacRoman|KOI8[-_]?R|Shift_JIS"
    rb"|GB18030|GBK|Big5|EUC[-_](?:JP|KR))\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Matches the encoding that JabRef declares in the first lines of a file."""
_UNMARKED = {
    "utf-16-le": re.compile(rb"(?:[^\0]\0){2}"),
    "utf-16-be": re.compile(rb"(?:\0[^\0]){2}"),
}
"""Match the beginning of ASCII text in UTF-16 without a byte order mark."""
_BEGINNINGS = {
    ".bib": re.compile(r"@\w+\s*[{(]"),
    ".ris": re.compile(r"TY  - "),
    ".nbib": re.compile(r"PMID- "),
    ".jsonl": re.compile(r"\{"),
    ".json": re.compile(r"\[\s*\{"),
    ".csv": re.compile(r"sep=[;,]\r?\n"),
}
"""For each suffix, a pattern that matches the beginning of a text in the format."""
GUESSED = "cp1252"
HEAD = 4096
BLOCK = 1 << 20


def decoded_lines(path: Path, begins_row: Callable[[str], object]) -> Generator[str, None, None]:
    """Yield the lines of a text file, with "\\n" as line ending.

    The encoding is detected by `encoding_of`.

    Args:
        begins_row: returns True for a line that begins a row, as in `bounded_lines`.

    Raises:
        InputError: the file cannot be read, is binary, has an unknown encoding, or contains a row
            that is too long.
    """
    encoding = encoding_of(path)
    return text_lines(path, encoding=encoding, newline=None, begins_row=begins_row)


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file.

    The result is the first of these encodings that can decode the whole file: the encoding of the
    byte order mark, the encoding that JabRef declares, UTF-16 if the file begins with ASCII text in
    UTF-16, UTF-8, and Windows-1252, which includes Latin-1.

    Raises:
        InputError: the file cannot be read, or contains bytes that are invalid in these encodings.
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
    for name in filter(None, candidates):
        with reading(path), contextlib.suppress(LookupError, UnicodeError):
            with path.open(encoding=name) as text:
                while text.read(BLOCK):
                    pass
            return name
    raise InputError(
        "is neither UTF-8 nor Windows-1252 text", where=shown(path), hint="Save the file as UTF-8."
    )


def line_end(path: Path) -> str:
    """Return the line ending at the start of a text file; "\\n" for no or mixed line endings."""
    with reading(path), path.open(encoding=encoding_of(path)) as file:
        file.readline()
        return file.newlines if isinstance(file.newlines, str) else "\n"


def suffix_of(text: str) -> str:
    """Return the suffix for the table format of a text, or "" if the text is not a table."""
    begun = text.lstrip("\ufeff \t\r\n")
    for suffix, beginning in _BEGINNINGS.items():
        if beginning.match(begun):
            return suffix
    for delimiter, suffix in ((",", ".csv"), (";", ".csv"), ("\t", ".tsv")):
        rows = filter(None, csv.reader(io.StringIO(begun, newline=""), delimiter=delimiter))
        with contextlib.suppress(InputError, csv.Error):
            names, first = next(rows, []), next(rows, [])
            # A single column is no evidence: the line "Abstract" may be the heading of an abstract.
            if len(names) == len(first) > 1:
                find_columns(tuple(map(str.strip, names)), Columns(), (), "stdin")
                return suffix
    from skills.corpus.tables.markdown_lists import is_list

    return ".md" if is_list(text) else ""
