"""Words that a move repeats: a model without an end in sight writes a clause twice."""

from __future__ import annotations

from skills.nanda.text import content_words

RUN = 3
"""Content words in a row that must not occur twice. 0.3% of the gold's moves repeat three."""


def repeated_words(abstract: str, text: str) -> list[str]:
    """Return the runs of `RUN` content words that `text` has again, as stems, each once.

    A run that the abstract repeats within one of its clauses is not excepted: a move is one
    sentence of its own. Runs that continue a returned one are left out.
    """
    del abstract  # the other checks compare with it
    found = content_words(text)
    runs = [tuple(found[start : start + RUN]) for start in range(len(found) - RUN + 1)]
    seen: set[tuple[str, ...]] = set()
    repeated: list[str] = []
    reported = -RUN
    for start, run in enumerate(runs):
        if run in seen and start >= reported + RUN:
            repeated.append(" ".join(run))
            reported = start
        seen.add(run)
    return list(dict.fromkeys(repeated))
