"""Result of a tool call as the model receives it: one JSON object of limited length."""

from __future__ import annotations

import json
from typing import Any

from harness.errors import HarnessError
from harness.runs.frontend import Outcome

CHARACTERS = 4000
_LIMITS = ((50, 1000), (20, 400), (8, 200), (3, 100))
"""Limits of items per list or object, and of characters per text, tried until the result fits."""


def of_outcome(outcome: Outcome) -> str:
    """Return the exit code, the saved files, and the summary or data of an outcome.

    Raises:
        SkillFailed: the data cannot be written as JSON.
    """
    result = outcome.result
    content: dict[str, Any] = {"exit_code": result.code}
    if outcome.saved:
        content["saved"] = [str(path) for path in outcome.saved]
    if result.stopped is not None:
        content["error"] = str(result.stopped)
    return compact({**content, "result": shortened(json.loads(result.as_json()))})


def of_error(error: HarnessError) -> str:
    """Return the exit code, message, location and hint of an error."""
    content = {"exit_code": error.exit_code, "error": error.message}
    content |= {"where": error.where} if error.where else {}
    return compact(content | ({"what_to_do": error.hint} if error.hint else {}))


def shortened(data: Any, characters: int = CHARACTERS) -> Any:
    """Return `data` with long lists, objects and texts cut; each cut states how much is missing."""
    if len(compact(data)) <= characters:
        return data
    smaller = data
    for items, letters in _LIMITS:
        smaller = _less(data, items, letters)
        if len(compact(smaller)) <= characters:
            return smaller
    text = compact(smaller)
    return f"{text[:characters]}... ({len(text) - characters:,} characters more)"


def compact(data: Any) -> str:
    """Serialize without blanks between the items."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _less(data: Any, items: int, letters: int) -> Any:
    if isinstance(data, str) and len(data) > letters:
        return f"{data[:letters]}... ({len(data) - letters:,} characters more)"
    if isinstance(data, list):
        kept = [_less(one, items, letters) for one in data[:items]]
        return [*kept, f"... ({len(data) - items:,} more)"] if len(data) > items else kept
    if isinstance(data, dict):
        few = {key: _less(data[key], items, letters) for key in [*data][: items * 2]}
        left = len(data) - len(few)
        return {**few, "...": f"{left:,} more"} if left else few
    return data
