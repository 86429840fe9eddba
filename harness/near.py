"""What the user may have meant by a name that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

NEAR = 0.6
MOST = 3


def did_you_mean(
    name: str,
    known: Iterable[str],
    shown: Callable[[str], str] = str,
    *,
    most: int = MOST,
    cutoff: float = NEAR,
) -> str:
    """ "Did you mean this or that?", or "" where nothing is near.

    Args:
        shown: how a known name is written.
        cutoff: how near it has to be, from 0 to 1.
    """
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(shown, near))}?" if near else ""
