"""Split texts into the terms that are clustered, and that labels are made of."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from skills.nanda.sentences import without_headings
from skills.nanda.text import STOP_WORDS, composed, set_of, stem

GENERIC = set_of(
    "based new novel paper papers present presented presents propose proposed proposes proposing"
)
"""Words of every abstract, whatever its subject."""

# Unlike `re`, it counts the vowel signs of Indic scripts as parts of words.
_WORD = regex.compile(r"[\p{L}\p{M}][\w]*")
_SCRIPT = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_UNSPACED = regex.compile(rf"[{_SCRIPT}][{_SCRIPT}\p{{M}}]*|[^{_SCRIPT}]+")
_IS_UNSPACED = regex.compile(rf"[{_SCRIPT}]")


def terms_of(text: str) -> list[str]:
    """Return the terms of a text: the stems of its content words, and pairs of adjacent ones."""
    return [term for term, _ in spelled_terms(text)]


def spelled_terms(text: str) -> Iterator[tuple[str, str]]:
    """Yield each term with its spelling in the text.

    Case is kept within acronyms alone (LLM, GitHub). Scripts without blanks between words have
    pairs of characters for words. Headings ("CONCLUSIONS:") are left out.
    """
    text = composed(without_headings(text))
    before: tuple[str, str, int] | None = None
    for found in _WORD.finditer(text):
        word, folded = found.group(), found.group().casefold()
        if _IS_UNSPACED.match(word):
            yield from ((pair, pair) for pair in _pairs(folded))
            before = None
        elif folded in STOP_WORDS or folded in GENERIC or len(word) < 2:
            before = None
        else:
            term, spelling = stem(folded), word if word[1:] != word[1:].casefold() else folded
            yield term, spelling
            if before:
                between = "-" if text[before[2] : found.start()] == "-" else " "
                yield f"{before[0]} {term}", f"{before[1]}{between}{spelling}"
            before = term, spelling, found.end()


def _pairs(word: str) -> Iterator[str]:
    for run in _UNSPACED.findall(word):
        if not _IS_UNSPACED.match(run):
            yield run
        else:
            yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
