"""Read the input of a skill: the text of a line, or the file that the text names.

JSON may contain lone surrogates (`"\\ud83d"`), and Python keeps them. Text with lone surrogates
cannot be written to a file, stored in SQLite or sent to a server. `well_formed` joins the
surrogates of a pair, and replaces lone surrogates.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import stat
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

from harness.errors import InputError

SUFFIXES = (".txt", ".md")
TEXT_WORDS = 40
"""Input of at least this number of words is always a text, and never a file name."""
MAX_BYTES = 1_000_000
"""Maximum size of a text file in bytes, about 150,000 words."""
MAX_ROW = 1_500_000
"""Maximum number of characters of a line, or of a row or reference that has several lines."""
_LINE_COST = 50
"""Bytes of memory that each further line of a row needs; they also count towards `MAX_ROW`."""

PIPED = "nanda-stdin-"
"""Name prefix of a temporary folder for piped input; `shown` returns "stdin" for a file in it."""

_PAIRS = "\"\" '' “” ‘’ «» »« ‹› ›‹ „“” 「」"  # noqa: RUF001
_CLOSING = {pair[0]: pair[1:] for pair in _PAIRS.split()}
"""The possible closing quotes for each opening quote."""
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])['’](?=[^\W\d_])")  # noqa: RUF001
_OTHER_SUFFIX = re.compile(r"\S*\w\.[A-Za-z][A-Za-z0-9]{0,7}")
_KNOWN_OTHERS = re.compile(
    r"\.(?:pdf|csv|tsv|jsonl?|parquet|xlsx?|ods|docx?|odt|rtf|html?|xml|ya?ml|tex|bib|ris|nbib|sqlite|zip|gz)$",
    re.I,
)
_UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
ENCODING = "utf-16-le"


def given(text: str) -> str:
    """Return `text`, or the content of the text file that `text` names.

    Raises:
        InputError: `text` names a file that cannot be read as text.
    """
    path = None if len(text.split()) >= TEXT_WORDS else path_in(text.strip())
    if path is None:
        return text
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path.suffix} files are not supported here",
            where=shown(path),
            hint=f"Save the text as {' or '.join(SUFFIXES)}.",
        )
    return read_text(path)


def unquote(text: str) -> str:
    """Return the text without a pair of quotes around it, if the quotes do not occur inside.

    An apostrophe between two letters is not a quote.
    """
    inside = text[1:-1].strip()
    closing = _CLOSING.get(text[:1], "")
    quotes = _APOSTROPHE.sub("", inside)
    if len(text) < 2 or text[-1] not in closing or any(c in quotes for c in text[0] + closing):
        return text
    return inside


def path_in(text: str) -> Path | None:
    """Return `text` as a path, or None if it is not a path.

    A text is a path if it has a known file suffix, or names an existing file. A text without blanks
    is also a path if it has any other suffix, or a separator. A text with blanks and a separator is
    a path if it names an existing folder.
    """
    name = unquote(text)
    if not name or "\n" in name or "\0" in name:
        return None
    blanks = re.search(r"\s", name) is not None
    known = name.lower().endswith(SUFFIXES) or _KNOWN_OTHERS.search(name)
    separated = ("/" in name or os.sep in name) and (not blanks or is_folder(name))
    if known or separated or _OTHER_SUFFIX.fullmatch(name) or is_file(at_home(name)):
        return Path(name)
    return None


def is_file(name: str | Path) -> bool:
    """Return True for an existing file; a name that is too long for a file raises no error."""
    return os.path.isfile(name)  # noqa: PTH113  Path.is_file raises OSError


def is_folder(name: str | Path) -> bool:
    """Return True for an existing folder; "~" is expanded, and a long name raises no error."""
    return os.path.isdir(os.path.expanduser(name))  # noqa: PTH111, PTH112


def at_home(name: str | Path) -> Path:
    """Return a path with "~" expanded, or the unchanged path if the user is unknown."""
    return Path(os.path.expanduser(name))  # noqa: PTH111  Path.expanduser raises RuntimeError


def read_text(
    path: Path, *, what: str = "a text", shorten: str = "Give a part of the text."
) -> str:
    """Return the text of a UTF-8 file.

    Args:
        what: a noun for the expected content, for messages.
        shorten: the hint for a file that is too large.

    Raises:
        InputError: the file is missing, a folder, empty, too large, binary, or not UTF-8.
    """
    path = regular_file(path, what=what, instead="Use - to read from a pipe.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"has {size / 1e6:.1f} MB, too much for {what}", where=shown(path), hint=shorten
        )
    text = "".join(text_lines(path))
    if not text.strip():
        raise InputError("is empty", where=shown(path), hint=f"Put {what} into the file.")
    return text


def regular_file(
    path: Path,
    *,
    what: str = "the data",
    instead: str = "Save the data to a file, and name this file.",
) -> Path:
    """Check that a file can be read more than once; return its path with "~" expanded.

    Args:
        what: a noun for the expected content, for messages.
        instead: the hint for a pipe or device.

    Raises:
        InputError: the file is missing, empty, unreadable, a folder, a pipe or a device.
    """
    where = shown(path)
    with reading(path):
        path = path.expanduser()
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder", where=where, hint="Name a file in the folder.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is not a regular file", where=where, hint=instead)
    if not status.st_size:
        raise InputError("is empty", where=where, hint=f"Put {what} into the file.")
    with reading(path), path.open("rb"):
        return path


def text_lines(
    path: Path,
    *,
    encoding: str = "utf-8-sig",
    newline: str | None = "",
    with_nul: bool = False,
    begins_row: Callable[[str], object] = lambda _: True,
    cut: bool = False,
) -> Generator[str, None, None]:
    """Yield the lines of a text file with their line endings.

    Args:
        encoding: the encoding of the file; by default, UTF-8 with or without a byte order mark.
        newline: "" to keep line endings (LF, CRLF or CR); None to replace them with LF.
        with_nul: True to yield lines with NUL characters; otherwise such a line is an error.
        begins_row, cut: see `bounded_lines`.

    Raises:
        InputError: the file cannot be read, has a row that is too long, or is not text in this
            encoding; for UTF-8, the message contains the line and the byte.
    """
    hint = "Save the file as UTF-8."
    with reading(path):
        with path.open("rb") as file:
            if encoding == "utf-8-sig" and file.read(4).startswith(_UTF16_OR_32):
                raise InputError("is UTF-16 or UTF-32 text", where=shown(path), hint=hint)
        try:
            with path.open(encoding=encoding, newline=newline) as file:
                lines = bounded_lines(file, path, begins_row, cut=cut)
                for number, line in enumerate(lines, start=1):
                    if "\0" in line and not with_nul:
                        raise InputError(
                            f"is a binary file (character {line.index(chr(0)) + 1} is 0)",
                            where=place(path, "line", number),
                            hint="Save the file as UTF-8 text.",
                        )
                    yield line
        except UnicodeDecodeError as exc:
            if encoding != "utf-8-sig":
                raise InputError(f"is not {encoding} text", where=shown(path), hint=hint) from exc
            raise _not_utf8(path) from exc


def bounded_lines(
    file: TextIO,
    path: Path,
    begins_row: Callable[[str], object] = lambda _: True,
    *,
    cut: bool = False,
) -> Iterator[str]:
    """Yield the lines of an open file, and limit the size of each row.

    Args:
        path: the path of the file, for messages.
        begins_row: returns True for a line that begins a row; by default, each line begins a row.
        cut: True to cut off a line after `MAX_ROW` + 1 characters instead of raising an error. The
            caller must refuse a line of this length.

    Raises:
        InputError: a row has more than `MAX_ROW` characters; the remaining characters are not read.
    """
    first = size = 0
    for number, line in enumerate(iter(partial(file.readline, MAX_ROW + 1), ""), start=1):
        if begins_row(line):
            first, size = number, -_LINE_COST
        size += len(line) + _LINE_COST
        if not cut:
            check_row(size, path, "line", first or 1)
        yield line
        while cut and len(line) > MAX_ROW and not line.endswith(("\r", "\n")):
            line = file.readline(MAX_ROW + 1)


def check_row(size: int, path: Path, unit: str, position: int) -> None:
    """Raise an InputError for a row of more than `MAX_ROW` characters."""
    if size > MAX_ROW:
        raise InputError(
            f"the row that begins here has more than {MAX_ROW:,} characters",
            where=place(path, unit, position),
            hint="Is the file damaged, or is a quote, a brace or an empty line missing?",
        )


def place(path: Path, unit: str, position: int) -> str:
    """Return a position in a file as text for messages, such as "papers.csv, line 7"."""
    return f"{shown(path)}, {unit} {position}"


def _not_utf8(path: Path) -> InputError:
    """Return the error for a file that is not UTF-8, with the position of the first wrong byte."""
    number, offset = 1, 0
    with path.open("rb") as file:
        for line in iter(partial(file.readline, MAX_ROW), b""):
            try:
                line.decode()
            except UnicodeDecodeError as exc:
                return InputError(
                    f"is not UTF-8 text (byte {offset + exc.start} is 0x{line[exc.start]:02x})",
                    where=place(path, "line", number + _line_ends(line[: exc.start])),
                    hint="Save the file as UTF-8.",
                )
            number += _line_ends(line)
            offset += len(line)
    return InputError("is not UTF-8 text", where=shown(path), hint="Save the file as UTF-8.")


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """In the block, translate errors of opening and reading `path` into an InputError."""
    try:
        yield
    except FileNotFoundError as exc:
        raise InputError(
            "there is no such file",
            where=shown(path),
            hint="Is the path correct, as seen from this folder?",
        ) from exc
    except RuntimeError as exc:  # raised for the home folder of an unknown user
        raise InputError("there is no such home folder", where=shown(path)) from exc
    except (OSError, ValueError) as exc:  # a NUL in the path raises ValueError
        raise unreadable(path, exc) from exc


def unreadable(path: Path, exc: Exception) -> InputError:
    """Return the error for a file that cannot be read, with the reason in `exc`."""
    reason = getattr(exc, "strerror", None) or exc
    return InputError(f"cannot be read ({reason})", where=shown(path))


def shown(path: Path) -> str:
    """Return a path as text for messages, or "stdin" for piped input.

    Undecodable bytes are replaced by U+FFFD.
    """
    if path.parent.name.startswith(PIPED):
        return path.stem
    return os.fsencode(path).decode("utf-8", "replace")


def well_formed(text: str) -> str:
    """Return `text` with the surrogates of pairs joined, and lone surrogates as U+FFFD."""
    return text.encode(ENCODING, "surrogatepass").decode(ENCODING, "replace")
