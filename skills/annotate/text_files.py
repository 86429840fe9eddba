"""Text files that hold an abstract: reading them with care, and finding title and abstract."""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from harness.errors import InputError
from skills.corpus import tables

SUFFIXES = (".txt", ".md")
MAX_BYTES = 1_000_000
"""Some 150,000 words: whatever is larger is no abstract, and is not read."""
TITLE_WORDS = 30
"""A first line of no more words than this may be a title; the longest title of the gold has 21."""

_HEADING = re.compile(r"#{1,6}[ \t]+(?P<text>[^\n]+?)[ \t]*#*[ \t]*(?:\n|\Z)")
_LABEL_LINE = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+)?[*_]{0,2}abstract[*_]{0,2}[ \t]*[:.]?[*_]{0,2}[ \t]*#*[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(
    r"\s*[*_]{0,2}abstract(?:[*_]{0,2}\s*(?:[:.]|\s[-–]|[–—])[*_]{0,2}|[*_]{1,2})\s+",  # noqa: RUF001
    re.IGNORECASE,
)
_NEXT_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)
_UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it is missing, a folder, empty, too big, of an unknown suffix, no text, or not
            UTF-8.
    """
    where = str(path)
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"/annotate reads no {path.suffix} files",
            where=where,
            hint=f"It reads an abstract from {' and '.join(SUFFIXES)}, and a table of papers from "
            f"{', '.join(tables.SUFFIXES)}; save it as one of these.",
        )
    data = _bytes(path)
    if not data.strip():
        raise InputError("is empty", where=where, hint="Put the abstract into it.")
    if data.startswith(_UTF16_OR_32):
        raise InputError("is UTF-16 or UTF-32 text", where=where, hint="Save it as UTF-8.")
    if b"\0" in data:
        raise InputError(
            f"is a binary file (byte {data.index(0)} is 0)",
            where=where,
            hint="Give the abstract as plain text.",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(
            f"is not UTF-8 text (byte {exc.start} is 0x{data[exc.start]:02x})",
            where=where,
            hint="Save it as UTF-8.",
        ) from exc


def title_and_abstract(text: str) -> tuple[str, str]:
    """The title, or "", and the abstract.

    The title is a first heading "# ...", or a first line alone, short and without a full stop, with
    an empty line and more text after it. The abstract is what follows a line "Abstract" up to the
    next heading, or else all the rest; a label "Abstract:" before it is left out.
    """
    body = text.replace("\r\n", "\n").replace("\r", "\n").strip("\ufeff \t\n\f\v")
    title = ""
    if not _LABEL_LINE.match(body):
        title, body = _split_title(body)
    if label := _LABEL_LINE.search(body):
        after = body[label.end() :]
        following = _NEXT_HEADING.search(after)
        body = after[: following.start()] if following else after
    elif label := _LABEL.match(body):
        body = body[label.end() :]
    return title, body.strip()


def _split_title(text: str) -> tuple[str, str]:
    if heading := _HEADING.match(text):
        return _clean(heading["text"]), text[heading.end() :]
    first, gap, rest = text.partition("\n\n")
    title = first.strip()
    short = len(title.split()) <= TITLE_WORDS and "\n" not in title and not title.endswith(".")
    if gap and rest.strip() and short and not _LABEL.match(first):
        return _clean(title), rest
    return "", text


def _clean(title: str) -> str:
    title = re.sub(r"^title:\s*", "", title.strip(), flags=re.IGNORECASE)
    bold = re.fullmatch(r"(\*\*|__)(.+)\1", title)
    return " ".join((bold[2] if bold else title).split())


def _bytes(path: Path) -> bytes:
    where = str(path)
    try:
        path = path.expanduser()
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError("is a folder", where=where, hint="Name a file in it.")
        if not stat.S_ISREG(found.st_mode):
            raise InputError("is no regular file", where=where, hint="Use - to read from a pipe.")
        if found.st_size > MAX_BYTES:
            raise InputError(
                f"has {found.st_size / 1e6:.1f} MB, too much for an abstract",
                where=where,
                hint="Give the abstract alone, not the whole paper.",
            )
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise InputError(
            "there is no such file", where=where, hint="Is the path right from this folder?"
        ) from exc
    except RuntimeError as exc:  # "~nobody/x"
        raise InputError("there is no such home folder", where=where) from exc
    except OSError as exc:
        raise InputError(f"cannot be read ({exc.strerror})", where=where) from exc
