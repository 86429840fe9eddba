"""Words that a move repeats: a model without an end in sight writes a clause twice."""

from __future__ import annotations

from skills.nanda.text import WORD, composed, content_words

RUN = 3
"""Content words in a row that must not occur twice. 0.3% of the gold's moves repeat three."""


def repeated_words(abstract: str, text: str) -> list[str]:
    """Return the passages of `RUN` content words that `text` has again in any inflection.

    A run that the abstract repeats within one of its clauses is not excepted: a move is one
    sentence of its own. Runs that continue a returned one are left out.
    """
    del abstract  # the other checks compare with it
    text = composed(text)
    given = [(stem, m.span()) for m in WORD.finditer(text) for stem in content_words(m.group())]
    seen: set[tuple[str, ...]] = set()
    repeated: dict[tuple[str, ...], str] = {}
    reported = -RUN
    for start in range(len(given) - RUN + 1):
        stems, spans = zip(*given[start : start + RUN], strict=True)
        if stems in seen and start >= reported + RUN:
            repeated.setdefault(stems, text[spans[0][0] : spans[-1][1]])
            reported = start
        seen.add(stems)
    return list(repeated.values())
