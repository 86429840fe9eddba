"""Suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


def did_you_mean(
    name: str,
    known: Iterable[str],
    shown: Callable[[str], str] = str,
    *,
    most: int = 3,
    cutoff: float = 0.6,
) -> str:
    """Return a question that suggests similar known names, or "" if there are none.

    Args:
        shown: formats a known name.
        most: maximum number of suggestions.
        cutoff: minimum similarity, from 0 to 1.
    """
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(shown, near))}?" if near else ""
