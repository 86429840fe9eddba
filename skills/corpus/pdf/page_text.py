"""Read the text of a page with PDFium as pieces of lines, and join lines into running text.

A piece is a text on one baseline, with its position and font. Joining restores hyphenated words and
accented letters, replaces ligatures by letters, and removes footnote marks.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pypdfium2.raw as pdfium

MOST_CHARS = 60_000
"""Maximum number of characters that are read from a page; a typical page has 3,000 to 8,000."""
GAP = 0.9
"""Maximum distance in ems between two words of the same piece."""
SAME_SIZE = 0.08
"""Maximum relative difference of the font sizes of two lines of the same text."""
_LINE_END = frozenset("\r\n")
_HYPHENS = frozenset("\ufffe\u0002\u00ad")
"""Characters that PDFium returns for a hyphen at the end of a line, and the soft hyphen."""
MARK = "\ue000"
"""A private character that replaces a footnote mark in the text of a line."""
_MARKS = frozenset("0123456789,*†‡§¶\u2217")
_LONG = re.compile(rf"[^\W\d_]{{4}}[.,;:)\u201d\"]*{MARK}*$")
"""Matches the end of a long word; a superscript number after the word is a footnote mark."""
_BOLD = re.compile(r"bold|black|heavy|demi|-medi|medi$|cmbx|sfbx|\.b$|-b$", re.IGNORECASE)
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
"""The combining character of each separate accent."""
_DOTLESS = "\u0131"
_ACCENTED = re.compile(rf"([{''.join(_ACCENTS)}])\s?([A-Za-z{_DOTLESS}])")
_DIVIDED = re.compile(r"(\w[\w-]*)-$")
_BEGINS = re.compile(r"[^\W\d_]+(?:-\w+)*")
_WORD = re.compile(r"\w+(?:-\w+)*")


@dataclass(slots=True)
class Line:
    """A line of text, or a piece of a line.

    Attributes:
        left: the left end, in points.
        right: the right end, in points.
        y: the baseline, in points from the bottom of the page.
        size: the font size, in points.
        font: the name of the font.
        bold: True if all words are bold.
        lead: the bold words at the beginning; "" if all words are bold.
        page: the page, from 0.
        chars: for each character of `text` except blanks, its index on the page.
    """

    text: str
    left: float
    right: float
    y: float
    size: float
    font: str = ""
    bold: bool = False
    lead: str = ""
    page: int = 0
    chars: array[int] = field(default_factory=lambda: array("I"))


def count_words(lines: Iterable[Line]) -> int:
    """Return the number of words in lines."""
    return sum(len(line.text.split()) for line in lines)


def differs(line: Line, size: float) -> bool:
    """Return True if the font size of a line clearly differs from `size`."""
    return abs(line.size - size) > SAME_SIZE * size


@dataclass(slots=True)
class _Word(Line):
    """A word of a page; `read` joins words into pieces.

    Attributes:
        turned: True if the word is not written from left to right.
        bottom, height: the bottom and the height of the box of the first character, in points.
        ends_line: True if a line break follows the word.
    """

    turned: bool = False
    bottom: float = 0.0
    height: float = 0.0
    ends_line: bool = False


def read(text_page: Any) -> tuple[list[Line], str]:
    """Return the text of a page as pieces of lines, and the turned text as a string.

    Args:
        text_page: an FPDF_TEXTPAGE of PDFium.

    Returns:
        The pieces of text that are written from left to right; and a string with the other text,
        such as the arXiv stamp in the margin.
    """
    pieces: list[list[_Word]] = []
    turned: list[str] = []
    before: _Word | None = None
    for word in _words(text_page):
        if word.turned:
            turned.append(word.text)
        elif before is None or before.ends_line or not _continues(before, word):
            pieces.append([word])
        else:
            pieces[-1].append(word)
        before = None if word.turned else word
    return [_line(words) for words in pieces], " ".join(turned)


def _continues(before: _Word, word: _Word) -> bool:
    size = max(before.size, word.size)
    on_line = abs(before.y - word.y) <= size / 2
    return on_line and -size / 2 <= word.left - before.right <= GAP * size


def _line(words: list[_Word]) -> Line:
    weights: Counter[tuple[float, str]] = Counter()
    baselines: Counter[float] = Counter()
    for word in words:
        weights[word.size, word.font] += len(word.text)
        baselines[word.y] += len(word.text)
    size, font = weights.most_common(1)[0][0]
    bold = [_BOLD.search(word.font) is not None for word in words]
    in_bold = next((i for i, one in enumerate(bold) if not one), len(words))
    chars = array("I")
    for word in words:
        chars.extend(word.chars)
    return Line(
        " ".join(word.text for word in words),
        words[0].left,
        words[-1].right,
        baselines.most_common(1)[0][0],
        size,
        font,
        in_bold == len(words),
        " ".join(word.text for word in words[:in_bold]) if in_bold < len(words) else "",
        chars=chars,
    )


def _words(text_page: Any) -> Iterator[_Word]:
    """Yield the words of a page in the order of the file."""
    box = pdfium.FS_RECTF()
    place = ctypes.byref(box)
    word: _Word | None = None
    for i in range(min(pdfium.FPDFText_CountChars(text_page), MOST_CHARS)):
        code = pdfium.FPDFText_GetUnicode(text_page, i)
        char = "" if not code or 0xD800 <= code < 0xE000 else chr(code)  # omits surrogates
        if char.isspace() or not char:
            if word is not None:
                word.ends_line = char in _LINE_END
                yield word
                word = None
            continue
        if not pdfium.FPDFText_GetLooseCharBox(text_page, i, place):
            continue
        if word is not None and not _joins(word, box):
            yield word
            word = None
        if word is None:
            word = _begun(text_page, i, box)
        elif _is_mark(char, word, box):
            char = MARK
        word.text += "-" if char in _HYPHENS else char
        word.chars.append(i)
        word.right = max(word.right, box.right)
    if word is not None:
        yield word


def _joins(word: _Word, box: Any) -> bool:
    """Return True if a character with the bounding box `box` continues a word."""
    if word.turned:
        return True
    apart = box.left - word.right
    half = word.size / 2
    on_line: bool = box.bottom - half <= word.y <= box.top + half
    return on_line and -word.size * 2 / 3 <= apart <= GAP * word.size


def _is_mark(char: str, word: _Word, box: Any) -> bool:
    """Return True if a character is a footnote mark, unlike the digits in "R2" and "Ca2+"."""
    raised = box.bottom > word.bottom + 0.15 * word.height
    small = box.top - box.bottom < 0.85 * word.height
    return raised and small and char in _MARKS and _LONG.search(word.text) is not None


def _begun(text_page: Any, i: int, box: Any) -> _Word:
    """Return a word without text, at the position and in the font of the character `i`."""
    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(text_page, i, matrix)
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(text_page, i, x, y)
    scale = math.hypot(matrix.c, matrix.d) or 1.0
    size = round(pdfium.FPDFText_GetFontSize(text_page, i) * scale, 1) or 1.0
    buffer = ctypes.create_string_buffer(128)
    pdfium.FPDFText_GetFontInfo(text_page, i, buffer, len(buffer), ctypes.c_int())
    name = buffer.value.decode("utf-8", "replace")
    word = _Word("", box.left, box.right, y.value, size, name.partition("+")[2] or name)
    word.turned = abs(matrix.b) > abs(matrix.a)
    word.bottom, word.height = box.bottom, box.top - box.bottom
    return word


def words_of(lines: Iterable[Line]) -> set[str]:
    """Return the words of lines in lower case; a word before a hyphen at a line end is omitted."""
    found: set[str] = set()
    for line in lines:
        words = _WORD.findall(plain(line.text).casefold())
        found.update(words[:-1] if line.text.endswith("-") else words)
    return found


def text_of(lines: Sequence[Line], known: Collection[str]) -> str:
    """Return the text of lines, and join the parts of words that are hyphenated at a line end.

    The hyphen at a line end is removed if the paper contains the word without this hyphen.
    Otherwise the hyphen is kept if the paper contains the word with this hyphen, if a capital
    follows, or if another hyphen precedes ("state-of-the-art"). In all other cases, the hyphen is
    removed.

    Args:
        known: the words of the paper, as `words_of` returns them.
    """
    text = ""
    for line in lines:
        added = plain(line.text).strip()
        divided = _DIVIDED.search(text)
        following = _BEGINS.match(added)
        if divided and following:
            one, other = divided[1].casefold(), following[0].casefold()
            is_compound = "-" in one or following[0][0].isupper() or f"{one}-{other}" in known
            if one + other in known or not is_compound:
                text = text[:-1]
            text += added
        else:
            text = f"{text} {added}" if text else added
    return " ".join(text.split())


def plain(text: str) -> str:
    """Return a text without ligatures, separate accents and footnote marks.

    Letters replace the ligatures, and accented letters replace the separate accents.
    """
    text = text.translate(_REPLACED)
    return _ACCENTED.sub(_accented, text) if any(map(text.__contains__, _ACCENTS)) else text


def _accented(found: re.Match[str]) -> str:
    letter = "i" if found[2] == _DOTLESS else found[2]
    made = unicodedata.normalize("NFC", letter + _ACCENTS[found[1]])
    return made if len(made) == 1 else found[0]
