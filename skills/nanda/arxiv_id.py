"""Find arXiv ids in text and URLs."""

from __future__ import annotations

import re

# Possessive: a text of hyphens would otherwise take a place of the stack for each of them.
ID = r"(?:\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z]++(?:-[a-z]++)*+(?:\.[a-z]{2})?/\d{7})(?:v\d+)?"
"""New ids (2405.12345v2) and old ones (cs/0112017, math.GT/0309136)."""

WHOLE = re.compile(
    rf"(?:arxiv:\s*|(?:https?://)?(?:[a-z]+\.)?arxiv\.org/(?:abs|pdf|html)/)?(?P<id>{ID})"
    r"(?:\.pdf)?/?(?:[?#]\S*)?(?:\s+\[[a-z.-]+\])?(?:\s+\d{1,2}\s+[a-z]{3}\s+\d{4})?",
    re.IGNORECASE,
)
"""Text that is one id: alone, with "arXiv:", a URL, or the stamp on the margin of a PDF."""

_ALONE = rf"(?<![\w./-])(?P<alone>{ID})(?![\w/])"
_NAMED = rf"(?:arxiv\.org/(?:abs|pdf|html)/|arxiv:\s*)(?P<named>{ID})(?![\d/])"
_IN_ADDRESS = re.compile(_NAMED, re.IGNORECASE)
_ANYWHERE = re.compile(rf"{_NAMED}|{_ALONE}", re.IGNORECASE)


def page_address(text: str) -> str:
    """Return the URL of the paper at arXiv if `text` is its id (`WHOLE`), else ""."""
    found = WHOLE.fullmatch(text)
    return f"https://arxiv.org/abs/{found['id']}" if found else ""


def find_arxiv_id(text: str, *, allow_bare: bool = False) -> str | None:
    """Return the first arXiv id in `text`, without its version.

    Args:
        allow_bare: accept a bare id. Otherwise, an arxiv.org URL or "arXiv:" must precede it, since
            "2405.12345" may be a number and "and/2000000" part of a sentence.
    """
    found = (_ANYWHERE if allow_bare else _IN_ADDRESS).search(text)
    return re.sub(r"v\d+$", "", found[found.lastgroup or 0]) if found else None


def bare_arxiv_id(text: str) -> str | None:
    """Return `text` without its version if it is an arXiv id (`WHOLE`), else None."""
    return find_arxiv_id(text, allow_bare=True) if WHOLE.fullmatch(text) else None
