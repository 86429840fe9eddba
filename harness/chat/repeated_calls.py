"""Recognition of a model that makes the same call endlessly."""

from __future__ import annotations

import json
from collections import Counter

from harness.models.backends.base import ToolCall

MOST = 3
"""Times that a call with the same arguments may have the same result."""


class RepeatedCalls:
    """The calls of a turn with their results, counted since the last one that was new.

    A model that changes a file and runs the same failing test again is not stuck.
    """

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self.stuck = ""

    def add(self, call: ToolCall, result: str) -> None:
        """Count a call; `stuck` is the tool's name from the time when it is called too often."""
        same = call.name, _normal(call), result
        if same not in self._known:
            self._known.add(same)
            self._counts.clear()
        self._counts[same] += 1
        if self._counts[same] >= MOST:
            self.stuck = call.name


def _normal(call: ToolCall) -> str:
    """Return the arguments in a form that ignores their order and blanks."""
    given = call.sendable
    return json.dumps(given, sort_keys=True) if given else call.arguments
