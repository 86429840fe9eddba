"""What the user may have meant by a name that nothing has."""

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
    """A question that names what is near to `name`; "" where nothing is.

    Args:
        shown: how a known name is written.
        most: how many it may name.
        cutoff: how near it has to be, from 0 to 1.
    """
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(shown, near))}?" if near else ""
