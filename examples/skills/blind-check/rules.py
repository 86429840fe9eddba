"""Patterns of text that identifies its authors."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

REASONS = {
    "address": "an e-mail address or ORCID iD names a person",
    "link": "a link may lead to an author's account or page",
    "own-work": "the authors refer to earlier work as their own",
    "funding": "a funder or a person thanked is close to the authors",
    "affiliation": "an institution is named",
}
_OURS = r"(?:our|my)\s+(?:own\s+)?(?:previous|prior|earlier|past|recent|former|last)\s+"
_PATTERNS = {
    "address": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b\d{4}-\d{4}-\d{4}-\d{3}[\dX]\b",
    "link": r"(?:https?://|www\.)[^\s<>\"')\]]*[^\s<>\"')\].,;:]"
    r"|\b(?:github|gitlab|huggingface|bitbucket)\.(?:com|co|org|io)/[\w./-]*\w",
    "own-work": rf"\b{_OURS}(?:\w+\s+)?(?:work|paper|papers|study|studies|results|article|thesis)\b"
    r"|\b(?:we|I)\s+(?:previously|earlier)\s+\w+"
    r"|\bin\s+our\s+(?:\w+\s+)?(?:paper|article|thesis)\b",
    "funding": r"\b(?:funded|financed|sponsored)\s+by\b"
    r"|\bsupported\s+by\s+(?:a\s+|the\s+)?grants?\b"
    r"|\bgrant\s+(?:no\.?|number|agreement)|\bwe\s+(?:thank|are\s+grateful\s+to)\b",
    "affiliation": r"\bUniversity\s+of\s+[A-Z]\w+"
    r"|\b(?:[A-Z]\w+\s+)+(?:University|Institute|College)\b"
    r"|\b(?:at|of)\s+our\s+(?:university|institute|lab|laboratory|hospital|company)\b",
}
# Names begin with a capital, so that rule is case-sensitive.
_RULES = {
    rule: re.compile(pattern, 0 if rule == "affiliation" else re.IGNORECASE)
    for rule, pattern in _PATTERNS.items()
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Text that identifies the authors; `line` counts from 1."""

    line: int
    rule: str
    text: str

    @property
    def reason(self) -> str:
        return REASONS[self.rule]


def findings(text: str, allowed: Collection[str] = ()) -> list[Finding]:
    """Return the findings in the order of the text."""
    places = [
        (match.start(), rule, " ".join(match[0].split()))
        for rule, pattern in _RULES.items()
        if rule not in allowed
        for match in pattern.finditer(text)
    ]
    return [Finding(text.count("\n", 0, at) + 1, rule, found) for at, rule, found in sorted(places)]
