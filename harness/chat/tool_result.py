"""What comes of a call as the model is told it: one JSON object of a limited length."""

from __future__ import annotations

import json
from typing import Any

from harness.errors import HarnessError
from harness.runs.runner import Outcome

CHARACTERS = 4000
_LIMITS = ((50, 1000), (20, 400), (8, 200), (3, 100))
"""Items of a list or object, and characters of a text, that are told: fewer until it fits."""


def of_outcome(outcome: Outcome) -> str:
    """The exit code, what was saved, and the result: its summary or its data.

    Raises:
        SkillFailed: the data is no JSON.
    """
    result = outcome.result
    told: dict[str, Any] = {"exit_code": result.code}
    if outcome.saved:
        told["saved"] = [str(path) for path in outcome.saved]
    if result.stopped is not None:
        told["error"] = str(result.stopped)
    return compact({**told, "result": shortened(json.loads(result.as_json()))})


def of_error(error: HarnessError) -> str:
    """What happened, where, and what to do."""
    told = {"exit_code": error.exit_code, "error": error.message}
    told |= {"where": error.where} if error.where else {}
    return compact(told | ({"what_to_do": error.hint} if error.hint else {}))


def shortened(data: Any, characters: int = CHARACTERS) -> Any:
    """`data` with its long lists, objects and texts cut, each saying by how much."""
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
