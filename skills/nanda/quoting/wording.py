"""Write the passages of a move as its text: join, trim, and end as a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from skills.nanda.sentences import heading_end
from skills.nanda.text import set_of

JOINT = " ... "
"""Between two passages."""
# Only words without which the meaning is the same: not those of "that of X", "which of X", "so far"
# or "or more X", and no preposition. A mark only if it stands alone, unlike those of "-0.7", ".05".
_JOINING = re.compile(
    r"""
    (?:
        \(?(?:\d{1,2}|[ivx]{1,4}|[a-h])\)(?=\ \w)
        | \d{1,2}\.(?=\ [A-Z]) | \\item(?:\[[^\]\n]*\])? | [*•‣▪●◦] | \#{1,6}
        | [Hh]owever, | (?:[Aa]nd|[Bb]ut|or(?!\ (?:more|less|fewer)\b)),?
        | that(?=\ (?:the|a|an|this|these|our|we|it|they|their|its|all|each)\ )
        | which(?!\ of\b) | [-\u2013\u2014,;:.)]+
    )[ ]+
    """,
    re.VERBOSE,
)
_LAST = set_of("and or but that which e.g. i.e.")
"""Words that join a passage, if it does not end its sentence, to what follows."""
_MARKS = " ,;:([-\u2013\u2014"
_MARK = re.compile(r"[.!?\u2026][\"'\u2019\u201d)\]]*\Z")


def trimmed(passage: str) -> tuple[int, int]:
    """Return the start and the end of a passage without words that only join it to others.

    A heading before it, some conjunctions before it and behind it, and punctuation at both ends are
    removed. Words that make a clause depend on another one ("although", "while") stay, since the
    meaning of what follows depends on them. A passage of nothing else is returned whole.
    """
    start, opened, end = -1, 0, _end(passage)
    while opened > start:
        start, joining = opened, _JOINING.match(passage, opened)
        opened = joining.end() if joining else heading_end(passage, start)
    if passage.startswith("(", start) and ")" not in passage:
        start += 1
    return (start, end) if start < end else (0, len(passage))


def _end(passage: str) -> int:
    kept = _MARK.sub("", passage)
    ends_sentence = kept != passage
    kept = kept.rstrip(_MARKS)
    while not ends_sentence and kept.rpartition(" ")[2].lstrip(_MARKS) in _LAST:
        kept = kept.rpartition(" ")[0].rstrip(_MARKS)
    return len(kept)


def text_of(passages: Sequence[str]) -> str:
    """Return the text of a move: its passages, trimmed and joined, as one sentence.

    The first letter becomes a capital in a word of small letters only, so that "mRNA" stays.
    """
    parts = [passage[slice(*trimmed(passage))] for passage in passages]
    joined = JOINT.join(parts)
    if joined.partition(" ")[0].islower():
        joined = joined[:1].upper() + joined[1:]
    return joined + "."
