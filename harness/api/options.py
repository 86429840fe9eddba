"""Options of a line: the fields of a pydantic model are the flags, and say all there is to say.

`flags` reads them off, for the grammar, for /help and for completion; `build` makes the instance
and turns pydantic's complaints into the words of the command line.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from harness.api.skill import SkillOptions
from harness.api.validation_messages import Wanted, explain
from harness.errors import SkillFailed, UsageError
from harness.support.suggestions import did_you_mean

_MANY = (list, tuple, set, frozenset)
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
        choices: the values allowed, where they are few and fixed, as they are typed.
        values: the same as the option then holds them.
        many: whether the flag may be repeated.
        required: whether a line without it is refused.
    """

    name: str
    key: str
    help: str
    sets: bool | None
    metavar: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    many: bool = False
    required: bool = False


def flags(*models: type[SkillOptions]) -> dict[str, Flag]:
    """The flags of these option models by name, in order of declaration, a model's own first."""
    found = [_flag(*field) for model in models for field in _own_first(model)]
    return {flag.name: flag for flag in found}


def _own_first(model: type[SkillOptions]) -> list[tuple[str, FieldInfo]]:
    own = inspect.get_annotations(model)
    return sorted(model.model_fields.items(), key=lambda field: field[0] not in own)


def _flag(field_name: str, info: FieldInfo) -> Flag:
    key = info.alias or field_name
    hyphenated = key.replace("_", "-")
    about = info.description or ""
    base, many = _base_type(info.annotation)
    if base is bool and not many:
        negative = info.default is True
        name = f"--no-{hyphenated}" if negative else f"--{hyphenated}"
        return Flag(name, key, about, sets=not negative, required=info.is_required())
    values, others = _choices(info.annotation)
    choices = tuple(str(value.value if isinstance(value, Enum) else value) for value in values)
    metavar = "|".join((*others, *choices))
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if isinstance(default, Enum):
        default = default.value
    return Flag(
        f"--{hyphenated}",
        key,
        about,
        sets=None,
        metavar=metavar,
        default=default,
        choices=choices,
        values=values,
        many=many,
        required=info.is_required(),
    )


def _choices(annotation: Any) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The values that are named one by one, and what else can be given, as placeholders."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return parts, ()
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(annotation), ()
    if origin is Annotated or origin in _MANY:
        return _choices(parts[0])
    if origin in (Union, types.UnionType):
        found = [_choices(part) for part in parts if part is not type(None)]
        values = tuple(value for values, _ in found for value in values)
        return values, tuple(dict.fromkeys(name for _, names in found for name in names))
    names = {Path: "PATH", int: "N", float: "X", date: "DATE", bool: "true|false"}
    return (), (names.get(annotation, "VALUE"),)


def _base_type(annotation: Any) -> tuple[Any, bool]:
    """The type of one value, without `| None` and the list or tuple around it."""
    if get_origin(annotation) is Annotated:
        return _base_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _base_type(parts[0])
    if get_origin(annotation) in _MANY:
        return _base_type(get_args(annotation)[0])[0], True
    return annotation, False


def unknown(name: str, known: Iterable[str], command: str) -> UsageError:
    """The error for an option that nobody declared."""
    hint = did_you_mean(name, known) or f"`/help {command}` lists its options."
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


def paths(options: SkillOptions) -> Iterator[Path]:
    """The paths that the options hold."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        for one in value if isinstance(value, _MANY) else (value,):
            if isinstance(one, Path):
                yield one


def build(model: type[O], values: Mapping[str, Any]) -> O:
    """Make the options from values by key.

    Raises:
        UsageError: a value does not fit, or a required option is missing.
        SkillFailed: the skill's own validation of them broke.
    """
    found = {flag.key: flag for flag in flags(model).values()}
    try:
        return model.model_validate({k: _choice(found.get(k), v) for k, v in values.items()})
    except ValidationError as exc:
        infos = {info.alias or name: info for name, info in model.model_fields.items()}
        fields = {
            key: Wanted(flag.name, "" if flag.choices else _takes(infos[key]), flag.choices)
            for key, flag in found.items()
        }
        message, hint = explain(exc.errors(), fields)
        raise UsageError(message, hint=hint) from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # a stranger's validator may raise anything
        raise SkillFailed(f"the skill's options broke: {type(exc).__name__}: {exc}") from exc


def _choice(flag: Flag | None, value: Any) -> Any:
    """A choice that is no text, which pydantic does not read from one."""
    if flag is None or not flag.choices:
        return value
    if isinstance(value, list):
        return [_choice(flag, one) for one in value]
    by_text = dict(zip(flag.choices, flag.values, strict=True))
    return by_text.get(value, value) if isinstance(value, str) else value


def _takes(info: FieldInfo) -> str:
    """What a number may be, as a sentence; "" for what is none."""
    base = _base_type(info.annotation)[0]
    if base not in (int, float):
        return ""
    bounds: dict[str, Any] = {}
    for part in info.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if (bound := getattr(part, name, None)) is not None:
                bounds[name] = bound
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    said = " ".join(f"{words[name]} {bounds[name]}" for name in words if name in bounds)
    what = "a whole number" if base is int else "a number"
    return f"It takes {what} {said}".rstrip() + "."
