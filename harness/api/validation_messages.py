"""Messages for invalid option values: the flag, the given value, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.support.suggestions import did_you_mean

if TYPE_CHECKING:
    from harness.api.options import Flag

ErrorDetails = Mapping[str, Any]
"""One item of `ValidationError.errors()`."""
MAX_SHOWN = 80
"""Characters of a value that a message shows."""

_SUBJECT = re.compile(r"^(?:Decimal input|Input|String|Value|Path|Date|Datetime|Data) ")
_CAUSE = re.compile(r", (?:unable|input|invalid|relative).*")
_OWN = ("value_error", "assertion_error")
"""Errors raised by the validators of a skill, with messages of their own."""


def explain(errors: Iterable[ErrorDetails], known: Mapping[str, Flag]) -> tuple[str, str | None]:
    """Return the message for validation errors, and a hint or None.

    Args:
        known: flags by the key of the field.
    """
    messages: list[str] = []
    hints: list[str] = []
    for (key, _), group in groupby(errors, key=_place):
        together = list(group)
        first, flag = together[0], known.get(key)
        if not key:
            messages.append(_predicate(first))
        elif flag is None:
            messages.append(f"there is no option --{key.replace('_', '-')}")
            hints.append(did_you_mean(key, known, lambda near: known[near].name))
        else:
            messages.append(_of_flag(flag, together))
            if first["type"] in ("literal_error", "enum"):
                hints.append(did_you_mean(str(first["input"]), flag.choices, most=1))
            elif first["type"].startswith("date"):
                hints.append("Write a date as 2025-01-31 and a time as 2025-01-31T12:30.")
    return "; ".join(messages), " ".join(filter(None, dict.fromkeys(hints))) or None


def _place(error: ErrorDetails) -> tuple[str, int | None]:
    """Return the option and the index of its value, which the members of a union share."""
    path = error["loc"]
    return str(path[0]) if path else "", next((p for p in path[1:] if isinstance(p, int)), None)


def _of_flag(flag: Flag, errors: Sequence[ErrorDetails]) -> str:
    first = errors[0]
    if first["type"] == "missing":
        whole = len(first["loc"]) == 1
        return f"{flag.name} is required" if whole else f"{flag.name} needs one more value"
    reasons = list(dict.fromkeys(_predicate(error) for error in errors))
    if first["type"] in ("too_short", "too_long"):
        return f"{flag.name}: {reasons[0]}"
    given = first["input"]
    if isinstance(given, list) and len(given) == 1:  # of a flag that may be repeated
        [given] = given
    text = repr(given)
    value = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
    if first["type"] in _OWN:
        own = " and ".join(reasons)
        return f"{flag.name}: {own if str(given) in own else f'{value}: {own}'}"
    return f"{flag.name}: {value} {' or '.join(reasons)}"


def _predicate(error: ErrorDetails) -> str:
    """Return Pydantic's message without its subject, or the message of the skill's validator."""
    if error["type"] in _OWN:
        own = str(error.get("ctx", {}).get("error") or "").strip().partition("\n")[0]
        return own or "is not allowed"
    return _SUBJECT.sub("", _CAUSE.sub("", str(error["msg"])))
