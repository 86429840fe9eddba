"""Join lines to text: divided words, ligatures, accents beside letters, marks of footnotes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from skills.corpus.tables.pdf.characters import MARK, Line

_REPLACED = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", MARK: ""}
)
_ACCENTS = {
    "\u00b4": "\u0301",  # acute
    "\u00a8": "\u0308",  # diaeresis
    "\u02c6": "\u0302",  # circumflex
    "\u02dc": "\u0303",  # tilde
    "\u02c7": "\u030c",  # caron
    "\u02d8": "\u0306",  # breve
    "\u02da": "\u030a",  # ring
    "\u00b8": "\u0327",  # cedilla
    "\u02d9": "\u0307",  # dot
}
"""Accents that stand beside their letter, by the one that combines with it."""
_DOTLESS = "\u0131"
_ACCENTED = re.compile(rf"([{''.join(_ACCENTS)}])\s?([A-Za-z{_DOTLESS}])")
_DIVIDED = re.compile(r"(\w[\w-]*)-$")
_BEGINS = re.compile(r"[^\W\d_]+(?:-\w+)*")
_WORD = re.compile(r"\w+(?:-\w+)*")


def words_of(lines: Iterable[Line]) -> set[str]:
    """Return the words that are not divided at the end of a line, in lower case."""
    found: set[str] = set()
    for line in lines:
        words = _WORD.findall(plain(line.text).casefold())
        found.update(words[:-1] if line.text.endswith("-") else words)
    return found


def text_of(lines: Sequence[Line], known: Collection[str]) -> str:
    """Return lines as one text.

    The hyphen of a divided word is kept if the paper has the word with it elsewhere, and not
    without it; and before a capital, or after another hyphen ("state-of-the-art").

    Args:
        known: the words of the paper (`words_of`).
    """
    text = ""
    for line in lines:
        added = plain(line.text).strip()
        divided = _DIVIDED.search(text)
        following = _BEGINS.match(added)
        if divided and following:
            if not _keeps_hyphen(divided[1], following[0], known):
                text = text[:-1]
            text += added
        else:
            text = f"{text} {added}" if text else added
    return " ".join(text.split())


def plain(text: str) -> str:
    """Return text with letters for ligatures and accents, and without marks of footnotes."""
    text = text.translate(_REPLACED)
    return _ACCENTED.sub(_accented, text) if any(map(text.__contains__, _ACCENTS)) else text


def _accented(found: re.Match[str]) -> str:
    letter = "i" if found[2] == _DOTLESS else found[2]
    made = unicodedata.normalize("NFC", letter + _ACCENTS[found[1]])
    return made if len(made) == 1 else found[0]


def _keeps_hyphen(before: str, after: str, known: Collection[str]) -> bool:
    one, other = before.casefold(), after.casefold()
    if (one + other) in known:
        return False
    return f"{one}-{other}" in known or "-" in before or after[0].isupper()
