"""The difference between two texts, by words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["same", "removed", "added"]
_PIECE = re.compile(r"(?:\w+|[^\w\s])\s*|\s+")
"""A word or sign with the blanks after it: single blanks that two texts share mean nothing."""
MOST = 4_000
"""Words above which two texts are not compared: the time grows with their product."""
ALIKE = 0.35
"""The share of words below which two texts are replaced as wholes: single "the" explain nothing."""


class Piece(NamedTuple):
    kind: Kind
    text: str


def word_diff(old: str, new: str) -> Iterator[Piece]:
    """Yield what two texts share and what differs, in reading order: `removed` before `added`."""
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    if max(len(before), len(after)) > MOST:
        before, after = [old], [new]
    old_words, new_words = ([one.rstrip() for one in words] for words in (before, after))
    # Without junk: with it, words that occur often would never be the same.
    matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
    if 0 < matcher.ratio() < ALIKE:
        matcher.set_seqs(["old"], ["new"])
        before, after = [old], [new]
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(after[c:d]))
            continue
        for name, words in (("removed", before[a:b]), ("added", after[c:d])):
            if words:
                yield Piece(name, "".join(words))  # type: ignore[arg-type]
