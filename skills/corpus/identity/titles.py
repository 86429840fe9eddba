"""Compare titles of papers despite differences in spelling."""

from __future__ import annotations

import functools
import html
import itertools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from skills.corpus.tex import plain_field
from skills.nanda.text import set_of

Match = Literal["same", "subtitle", "typo"]

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
_TYPO_LETTERS = 6
"""Minimum length of a word in which a dropped, doubled or swapped letter is a typo."""
CUT_WORDS = 6
"""Minimum number of words of a title that may be the cut-off beginning of a longer title."""
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


def compare(one: Title, other: Title) -> Match | None:
    """Return how two titles match, or None if they do not.

    "same" means equal words, apart from blanks. "subtitle" means that one title lacks the subtitle
    or is cut off. "typo" means that one letter of a long word is dropped, doubled or swapped.
    """
    if one.notice != other.notice:
        return None
    if one.squeezed == other.squeezed:
        return "same"
    if one.numbers != other.numbers:
        return None
    shorter, longer = sorted((one, other), key=lambda title: len(title.words))
    count = len(shorter.words)
    is_cut = count >= CUT_WORDS and shorter.words == longer.words[:count]
    if shorter.words == longer.main or is_cut:
        return "subtitle"
    return "typo" if _is_typo(one.words, other.words) else None


def overlap(one: Title, other: Title) -> float:
    """Return the share of the words of the shorter title that occur in both titles."""
    shorter = min(len(set(one.words)), len(set(other.words)))
    return len(set(one.words) & set(other.words)) / shorter if shorter else 0.0


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


def _is_typo(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return True if one word of two titles differs by a dropped, doubled or swapped letter.

    The first and last letters of the word must be equal: "agent" and "agents" may occur in titles
    of two papers.
    """
    from rapidfuzz.distance import OSA

    if len(one) != len(other) or len(one) < 3:
        return False
    different = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    if len(different) != 1:
        return False
    [(a, b)] = different
    # Words with one replaced letter also have an OSA distance of 1, but this letter may distinguish
    # two papers.
    is_replaced = len(a) == len(b) and sorted(a) != sorted(b)
    ends = a[0] == b[0] and a[-1] == b[-1]
    is_near = ends and not is_replaced and OSA.distance(a, b, score_cutoff=1) == 1
    return is_near and min(len(a), len(b)) >= _TYPO_LETTERS
