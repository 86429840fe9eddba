"""Options of a line: the fields of a pydantic model are the flags, and say all there is to say.

`flags` reads them off, for the grammar, for /help and for completion; `build` makes the instance
and turns pydantic's complaints into the words of the command line.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from harness.errors import UsageError
from harness.skills import SkillOptions

O = TypeVar("O", bound=SkillOptions)  # noqa: E741


class GeneralOptions(SkillOptions):
    """The options of every line, which may also stand before it on the command line."""

    as_json: bool = Field(False, alias="json", description="print one JSON object")
    model: str | None = Field(
        None, description="use this model alone: an id of /models, or BACKEND/NAME"
    )
    no_fallback: bool = Field(False, description="never use another model than the task's own")
    force: bool = Field(False, description="overwrite an existing file")
    trust: bool = Field(False, description="trust the project's plugin that is called")
    yes: bool = Field(
        False,
        description="let the model write files and train unasked; in a session, overwrite files",
    )
    no_log: bool = Field(False, description="keep this run out of the run log")
    registry: Path | None = Field(None, description="a registry to lay over the shipped one")


@dataclass(frozen=True, slots=True)
class Flag:
    """One option as the user types it.

    Attributes:
        name: with its two hyphens, "--min-votes".
        key: the key of the pydantic model, its alias where it has one.
        sets: the value a boolean flag sets, or None for a flag that takes a value.
        choices: the values allowed, where they are few and fixed.
        many: whether the flag may be repeated.
    """

    name: str
    key: str
    help: str
    sets: bool | None
    metavar: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    many: bool = False


def flags(*models: type[SkillOptions]) -> dict[str, Flag]:
    """The flags of these option models by name, in order of declaration."""
    found = [_flag(name, info) for model in models for name, info in model.model_fields.items()]
    return {flag.name: flag for flag in found}


def _flag(field_name: str, info: FieldInfo) -> Flag:
    key = info.alias or field_name
    hyphenated = key.replace("_", "-")
    about = info.description or ""
    base, many = _base_type(info.annotation)
    if base is bool:
        negative = info.default is True
        name = f"--no-{hyphenated}" if negative else f"--{hyphenated}"
        return Flag(name, key, about, sets=not negative)
    choices = tuple(str(c) for c in get_args(base)) if get_origin(base) is Literal else ()
    metavar = "|".join(choices) or {Path: "PATH", int: "N", float: "X", date: "DATE"}.get(
        base, "VALUE"
    )
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return Flag(f"--{hyphenated}", key, about, None, metavar, default, choices, many)


def _base_type(annotation: Any) -> tuple[Any, bool]:
    """The type of one value, without `| None` and the list or tuple around it."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _base_type(parts[0])
    if get_origin(annotation) in (list, tuple):
        return _base_type(get_args(annotation)[0])[0], True
    return annotation, False


def unknown(name: str, known: Iterable[str], command: str) -> UsageError:
    """The error for an option that nobody declared."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"`/help {command}` lists its options."
    return UsageError(
        f"/{command} has no option {name}",
        hint=f"{hint} If it belongs to the text, put `--` before the text.",
    )


def misplaced(
    options: SkillOptions, goes_with: Mapping[str, Sequence[str]], asked: str
) -> tuple[str, Sequence[str]] | None:
    """The first option given that does nothing in the case `asked`, and the cases that it is for.

    Args:
        goes_with: the cases by the name of the option's field, of options that are not for all.
    """
    for field, cases in goes_with.items():
        if field in options.model_fields_set and asked not in cases:
            return _flag(field, type(options).model_fields[field]).name, cases
    return None


def build(model: type[O], values: Mapping[str, Any]) -> O:
    """Make the options from values by key.

    Raises:
        UsageError: a value does not fit, or a required option is missing.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        error = exc.errors()[0]
        key = str(error["loc"][0]) if error["loc"] else ""
        by_key = {flag.key: flag.name for flag in flags(model).values()}
        name = by_key.get(key, f"--{key}")
        raise UsageError(f"{name}: {_in_words(error)}" if key else _in_words(error)) from exc


def _in_words(error: Any) -> str:
    value = repr(error.get("input"))
    context = error.get("ctx", {})
    kind = error["type"]
    words = {
        "missing": "is required",
        "extra_forbidden": "is no option",
        "int_parsing": f"{value} is not a whole number",
        "int_from_float": f"{value} is not a whole number",
        "float_parsing": f"{value} is not a number",
        "literal_error": f"{value} is none of {context.get('expected')}",
        "greater_than_equal": f"{value} is less than {context.get('ge')}",
        "greater_than": f"{value} is not more than {context.get('gt')}",
        "less_than_equal": f"{value} is more than {context.get('le')}",
        "less_than": f"{value} is not less than {context.get('lt')}",
    }
    message = str(error["msg"])
    return words.get(kind, message.removeprefix("Value error, "))
