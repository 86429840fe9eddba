"""Split an abstract into sentences by rules, without a model or downloaded data."""

from __future__ import annotations

import re

# Possessive, and from the first mark of a run only: a run is searched once.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”\u2019)\]]*+(?=\s)|(?<=\S)[^\S\n]*+\n[^\S\n]*+\n")
_NEXT = re.compile(r"\s*[\"'“\u2018(\[]*([^\W_]?)([^\W_]*)")
_BEFORE = re.compile(r"[^\s\"'“\u2018(\[]*+\Z")
LONGEST = 40
"""Characters before a full stop that are searched for an abbreviation."""


def _set_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER_LAST = _set_of("e.g i.e cf vs viz approx fig figs eqs ref refs dr mr mrs ms prof")
"""Abbreviations that never end a sentence."""
_BEFORE_NUMBERS = _set_of("no nos vol p pp ch eq sec sect tab tbl app")
"""Abbreviations only if a number follows."""
_PERHAPS_LAST = _set_of("al etc resp inc ltd co corp dept univ jr sr st ph.d")
"""Abbreviations that end a sentence if the next word commonly begins one."""
_BEGINNERS = _set_of(
    """
    a all an and as at based both but by compared despite each existing experiments extensive
    finally first for from further furthermore given here how however if in instead it its many
    more moreover most next no on one our overall prior recent results second several since some
    specifically such that the their then there these they this those through thus to under unlike
    using we what when while with yet
    """
)


def split_sentences(text: str) -> list[str]:
    """Split `text` into sentences without surrounding white space, as `sentence_spans` does."""
    return [text[start:end] for start, end in sentence_spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return where each sentence of `text` begins and ends, without surrounding white space.

    A sentence ends at ".", "!", "?" or "…" (and the quotes or brackets that close there) before
    white space, and at an empty line. It does not end within "e.g.", "et al.", "Fig. 2", "J. Smith"
    or "0.93", nor before a word in lower case.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for end in _END.finditer(text):
        if end.group().isspace() or _is_last(
            text[max(start, end.start() - LONGEST) : end.start()], end.group(), text, end.end()
        ):
            spans.append((start, end.end()))
            start = end.end()
    spans.append((start, len(text)))
    return [span for span in (_stripped(text, *span) for span in spans) if span[0] < span[1]]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without the white space at its ends."""
    content = text[start:end]
    after = start + len(content.rstrip())
    return end - len(content.lstrip()), after


def _is_last(before: str, mark: str, text: str, position: int) -> bool:
    """Return True if the sentence that ends in `before` and `mark` ends there."""
    following = _NEXT.match(text, position)
    first, rest = following.groups() if following else ("", "")
    if first.islower():
        return False
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    found = _BEFORE.search(before)
    return _allows_end(found.group() if found else "", first, (first + rest).casefold())


def _allows_end(word: str, first: str, following: str) -> bool:
    """Return True if a full stop between `word` and `following` may end a sentence."""
    folded = word.casefold()
    if folded in _NEVER_LAST:
        return False
    if folded in _BEFORE_NUMBERS:
        return not first.isdigit()
    initial = len(word) == 1 and word.isupper()
    initialism = "." in word and all(len(part) == 1 and part.isalpha() for part in word.split("."))
    if folded in _PERHAPS_LAST or initial or initialism:
        return following in _BEGINNERS
    return True
