"""What is wrong with the values of options, in the words of the command line: the flag, what was
given, and what is allowed. Pydantic's own messages speak of inputs, integers and strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from harness.support.suggestions import did_you_mean

ErrorDetails = Mapping[str, Any]
"""One of `ValidationError.errors()`."""
LONGEST = 80
"""Characters of a value that are shown."""

WORDS = {
    "int_type": "is not a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "decimal_type": "is not a number",
    "decimal_parsing": "is not a number",
    "decimal_max_digits": "has more than {max_digits} digits",
    "decimal_max_places": "has more than {decimal_places} digits after the point",
    "decimal_whole_digits": "has more than {whole_digits} digits before the point",
    "fraction_type": "is not a number",
    "fraction_parsing": "is not a number",
    "complex_type": "is not a number",
    "complex_str_parsing": "is not a number",
    "greater_than_equal": "is less than {ge}",
    "greater_than": "is not more than {gt}",
    "less_than_equal": "is more than {le}",
    "less_than": "is not less than {lt}",
    "multiple_of": "is no multiple of {multiple_of}",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "literal_error": "is none of {expected}",
    "enum": "is none of {expected}",
    "string_type": "is not text",
    "string_unicode": "is not UTF-8 text",
    "string_not_ascii": "has characters that are not ASCII",
    "string_too_short": "is shorter than {min_length} characters",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "is not of the form {pattern}",
    "bytes_type": "is not text",
    "path_type": "is not a path",
    "path_not_file": "is not a file",
    "path_not_directory": "is not a folder",
    "path_exists": "exists already",
    "date_type": "is no date; write 2025-01-31",
    "date_parsing": "is no date; write 2025-01-31",
    "date_from_datetime_parsing": "is no date; write 2025-01-31",
    "date_from_datetime_inexact": "is a time, and a date is wanted",
    "date_past": "is not in the past",
    "date_future": "is not in the future",
    "datetime_type": "is no time; write 2025-01-31T12:30",
    "datetime_parsing": "is no time; write 2025-01-31T12:30",
    "datetime_from_date_parsing": "is no time; write 2025-01-31T12:30",
    "datetime_past": "is not in the past",
    "datetime_future": "is not in the future",
    "timezone_aware": "has no time zone; write 2025-01-31T12:30+00:00",
    "timezone_naive": "has a time zone, and none is wanted",
    "time_type": "is no time of day; write 12:30",
    "time_parsing": "is no time of day; write 12:30",
    "time_delta_type": "is no length of time; write 01:30:00 or P1D",
    "time_delta_parsing": "is no length of time; write 01:30:00 or P1D",
    "url_type": "is no address; write https://example.org",
    "url_parsing": "is no address; write https://example.org",
    "url_syntax_violation": "is no address; write https://example.org",
    "url_scheme": "does not begin with {expected_schemes}",
    "url_too_long": "is longer than {max_length} characters",
    "uuid_type": "is no UUID",
    "uuid_parsing": "is no UUID",
    "list_type": "is no list",
    "tuple_type": "is no list",
    "set_type": "is no list",
    "frozen_set_type": "is no list",
    "dict_type": "is no object",
    "model_type": "is no object",
    "json_type": "is not JSON",
    "json_invalid": "is not JSON",
}
"""What is said of a value, by pydantic's type of the error; braces are of its context."""

_OWN = ("value_error", "assertion_error")
"""Errors in the words of the skill's author."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an option wants, for the words.

    Attributes:
        flag: as the user types it.
        takes: what it takes, as a sentence, or "".
        choices: the values allowed, where they are few and fixed.
    """

    flag: str
    takes: str = ""
    choices: Sequence[str] = ()


def explain(errors: Iterable[ErrorDetails], fields: Mapping[str, Wanted]) -> tuple[str, str | None]:
    """What to tell the user, and what to do about it.

    Args:
        fields: the options there are, by the key of their value.
    """
    said: list[str] = []
    hints: list[str] = []
    for _, group in groupby(errors, key=_place):
        together = list(group)
        key = _place(together[0])[0]
        field = fields.get(key)
        if not key:
            said.append(_predicate(together[0]))
        elif field is None:
            said.append(f"there is no option --{key.replace('_', '-')}")
            hints.append(did_you_mean(key, fields, lambda near: fields[near].flag))
        else:
            said.append(_of_field(field, together))
            hints.append(_hint(field, together[0]))
    return "; ".join(said), " ".join(filter(None, dict.fromkeys(hints))) or None


def _place(error: ErrorDetails) -> tuple[str, int | None]:
    """The option, and which one of its values: the alternatives of a union share that place."""
    path = error["loc"]
    return str(path[0]) if path else "", next((p for p in path[1:] if isinstance(p, int)), None)


def _of_field(field: Wanted, errors: Sequence[ErrorDetails]) -> str:
    first = errors[0]
    if first["type"] == "missing":
        whole = len(first["loc"]) == 1
        return f"{field.flag} is required" if whole else f"{field.flag} needs one value more"
    if first["type"] in ("too_short", "too_long"):
        context = first.get("ctx", {})
        least = first["type"] == "too_short"
        limit = f"{context['min_length']} at least" if least else f"{context['max_length']} at most"
        return f"{field.flag} is given {_times(context['actual_length'])}, and {limit}"
    told = dict.fromkeys(_predicate(error) for error in errors)
    value = _shown(first["input"])
    if first["type"] in _OWN:
        own = " and ".join(told)
        return f"{field.flag}: {own if str(first['input']) in own else f'{value}: {own}'}"
    return f"{field.flag}: {value} {' and '.join(told)}"


def _predicate(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    context = {name: _as_declared(value) for name, value in context.items()}
    if kind in _OWN:
        return str(context.get("error") or "").strip().partition("\n")[0] or "is not allowed"
    if kind == "int_parsing":
        return "is not a whole number" if _is_number(error["input"]) else "is not a number"
    if kind == "string_too_short" and error["input"] == "":
        return "is empty"
    if kind in ("literal_error", "enum") and " or " not in str(context["expected"]):
        return f"is not {context['expected']}"
    if kind in WORDS:
        return WORDS[kind].format_map(context)
    message = str(error["msg"])
    for start in ("Input ", "value "):
        message = message.removeprefix(start)
    return message


def _as_declared(bound: Any) -> Any:
    """A bound as it was written: pydantic tells that of a number that is no whole one as 1.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _hint(field: Wanted, error: ErrorDetails) -> str:
    if error["type"] in ("literal_error", "enum"):
        return did_you_mean(str(error["input"]), field.choices, most=1)
    return "" if error["type"] in _OWN else field.takes


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _times(count: int) -> str:
    return {0: "no value", 1: "one value"}.get(count, f"{count} values")


def _shown(value: Any) -> str:
    """The value as it was given, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
