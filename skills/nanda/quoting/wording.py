"""Write the passages of a move as its text: join, trim, and end as a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

JOINT = "; "
"""Between two passages."""
# Lower case: a preposition with which a sentence begins ("On 412 tasks, it ...") joins nothing.
_DANGLING = re.compile(
    r"""
    (?:(?:and|but|or|that|which|so|of|for|in|on|into|than|however|And|But|However)[ ,]+
        |[-\u2013\u2014,;:.)]+[ ]*)+
    """,
    re.VERBOSE,
)
_REST = re.compile(
    r"(?:[ ,;:(\[\u2013\u2014-]|\b(?:and|or|but|that|which|e\.g\.|i\.e\.)(?=\W*\Z))+\Z"
)
_MARK = re.compile(r"[.!?\u2026][\"'\u2019\u201d)\]]*\Z")


def trimmed(passage: str) -> tuple[int, int]:
    """Return the start and the end of a passage without words that only join it to others.

    Conjunctions and prepositions before it are removed, and punctuation at both ends. Words that
    make a clause depend on another one ("although", "while") stay, since the meaning of what
    follows depends on them. A passage of nothing else is returned whole.
    """
    end = len(_REST.sub("", _MARK.sub("", passage)))
    opened = _DANGLING.match(passage)
    start = opened.end() if opened else 0
    if passage.startswith("(", start) and ")" not in passage:
        start += 1
    return (start, end) if start < end else (0, len(passage))


def text_of(passages: Sequence[str]) -> str:
    """Return the text of a move: its passages, trimmed and joined, as one sentence."""
    parts = [passage[slice(*trimmed(passage))] for passage in passages]
    joined = JOINT.join(parts)
    return joined[:1].upper() + joined[1:] + "."
