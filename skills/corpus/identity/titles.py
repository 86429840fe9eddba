"""Bring titles of papers into a form in which they can be compared."""

from __future__ import annotations

import functools
import html
import itertools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from skills.corpus.tex import plain_field
from skills.nanda.text import set_of

_TAG = re.compile(r"</?[a-zA-Z][\w:-]*(?:\s[^<>]*)?/?>")
_FOLDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "\N{LATIN SMALL LETTER DOTLESS I}": "i"}
    | {"þ": "th", "æ": "ae", "œ": "oe"}
)
"""Letters that Unicode does not decompose, and the ASCII letters that replace them."""
_WORD = re.compile(r"[^\W_]+")
_SUBTITLE = re.compile(r":\s|\s[-\N{EN DASH}\N{EM DASH}]+\s|\N{EM DASH}|[?!]\s")
_NOTICE = re.compile(
    r"(?:publisher |author )?(?:erratum|errata|corrigendum|corrigenda|correction|retraction"
    r"|retracted|withdrawn|addendum|comments?|commentary|reply|response|rejoinder|discussion"
    r"|review|supplement|supplementary material|editorial)\b[^:]{0,30}?"
    r"(?::|\bto\b|\bon\b|\bfor\b|\bof\b)",
    re.IGNORECASE,
)
_NOTICE_AFTER = re.compile(
    r"[(\[\N{EM DASH}:-]\s*(?:erratum|corrigendum|correction|retracted|reply|comment|supplement"
    r"|supplementary|appendix)",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"(?:\(?(?:preprint|extended abstract|\d+ pages)\)?[:.]?\s)", re.IGNORECASE)
_COUNTED = (
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    ("first", "second", "third", "fourth", "fifth"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"),
)
_NUMBER_WORDS = {word: str(n) for words in _COUNTED for n, word in enumerate(words, start=1)}
_SMALL = frozenset({"a", "an", "the", "and"})
GENERIC = set_of(
    """
    abstract abstracts acknowledgements acknowledgments announcement announcements bookreview
    bookreviews commentary conclusion conclusions contents correction corrigendum discussion
    editorial editornote editorsnote errata erratum foreword fromeditor guesteditorial index
    inmemoriam introduction introductiontospecialissue lettertoeditor letterstoeditor news notitle
    obituary overview preface reply response specialissue tableofcontents untitled
    """
)
"""Titles that do not identify a paper; blanks and articles are left out of these titles."""
KEY_LETTERS = 24
"""Maximum number of letters of a blocking key (see `Title.keys`)."""


@dataclass(frozen=True, slots=True)
class Title:
    """A title in the form in which titles are compared.

    Attributes:
        words: the words in lower case, without accents, punctuation, TeX commands, articles and
            "and".
        main: the words before the subtitle.
        numbers: the numbers in the title, including number words, since numbers distinguish the
            parts of a series.
        notice: True if the title belongs to a notice, such as an erratum, comment or retraction.
    """

    words: tuple[str, ...]
    main: tuple[str, ...]
    numbers: Counter[str]
    notice: bool

    @property
    def squeezed(self) -> str:
        """The words without blanks, so that "multi-agent" and "multiagent" are equal."""
        return "".join(self.words)

    @property
    def is_generic(self) -> bool:
        """True if the title has no words, or is a title of many papers, such as "Introduction"."""
        return not self.words or self.squeezed in GENERIC

    @property
    def keys(self) -> tuple[str, ...]:
        """The blocking keys of the title, which are a part of `Known.keys`.

        The first key is the beginning of the main title. Titles have this key in common despite a
        missing subtitle or a typo near the end. The second key is the end of the title. Titles have
        this key in common despite a typo near the beginning.
        """
        if self.is_generic:
            return ()
        head, tail = "".join(self.main)[:KEY_LETTERS], self.squeezed[-KEY_LETTERS:]
        return (f"{head}~", f"~{tail}")


@functools.lru_cache(maxsize=4096)
def title(text: str) -> Title:
    """Return the comparable form of the title `text`."""
    if "&" in text or "<" in text:
        text = _TAG.sub("", html.unescape(text))
    plain = plain_field(text).replace("&", " and ").strip()
    shown = _PREFIX.sub("", plain, count=1) if _PREFIX.match(plain) else plain
    words = _words(shown)
    main = _words(_SUBTITLE.split(shown, maxsplit=1)[0]) or words
    numbers = Counter(n for n in map(_number, words, itertools.count()) if n)
    notice = bool(_NOTICE.match(plain) or _NOTICE_AFTER.search(plain))
    return Title(words, main, numbers, notice)


def fold(text: str) -> str:
    """Return `text` in lower case, without accents and with "ø" as "o", "æ" as "ae" and so on."""
    decomposed = unicodedata.normalize("NFKD", text)
    if not decomposed.isascii():
        shown = (char for char in decomposed if not unicodedata.combining(char))
        decomposed = "".join(map(_greek, shown))
    return decomposed.casefold().translate(_FOLDED)


def _words(text: str) -> tuple[str, ...]:
    found = _WORD.findall(re.sub(r"['\N{RIGHT SINGLE QUOTATION MARK}]", "", fold(text)))
    return tuple(word for word in found if word not in _SMALL)


def _number(word: str, place: int) -> str:
    """Return the form in which a number in a word is compared, or "" if there is no number.

    A number word in the first place of a title does not count, since it may be the pronoun "I".
    """
    if word.isdecimal():
        return word.lstrip("0") or "0"
    if any(char.isdecimal() for char in word):
        return word
    return _NUMBER_WORDS.get(word, "") if place else ""


def _greek(char: str) -> str:
    if "\N{GREEK CAPITAL LETTER ALPHA}" <= char <= "\N{GREEK SMALL LETTER OMEGA}":
        return unicodedata.name(char).split()[-1].lower()
    return char
