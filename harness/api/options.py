"""Command-line options from Pydantic models: each field of a skill's `Options` is a flag.

`flags` returns the flags for parsing, /help and completion. `build` validates values, and reports
errors in terms of the command line, such as the flag and the allowed values.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from harness.api.skill import Skill, SkillOptions
from harness.errors import SkillFailed, UsageError, did_you_mean

_MANY = (list, tuple, set, frozenset)
_METAVARS = {Path: "PATH", int: "N", float: "X", date: "DATE", bool: "true|false"}
MODELS = 256
"""Maximum number of option models whose flags and schemas are cached."""
O = TypeVar("O", bound=SkillOptions)  # noqa: E741
ErrorDetails = Mapping[str, Any]
"""An item of `ValidationError.errors()`."""
MAX_SHOWN = 80
"""Maximum number of characters of a value in a message."""
_SUBJECT = re.compile(r"^(?:Decimal input|Input|String|Value|Path|Date|Datetime|Data) ")
_CAUSE = re.compile(r", (?:unable|input|invalid|relative).*")
_OWN = ("value_error", "assertion_error")
"""Pydantic's types for the errors that a skill's own validators raise."""


class ClusterOptions(SkillOptions):
    """Options for running models on a Ray cluster.

    The harness reads these options; a skill reads only `ray_data` and `is_remote`. The defaults
    come from HARNESS_ON and the section `cluster` of the registry.
    """

    manner: ClassVar[frozenset[str]] = frozenset({"on", "actors", "slots", "cpus", "gpus"})
    takes_ray_data: ClassVar[bool] = False
    """True if the skill supports `--on ray-data`: it has a pipeline that loads models itself."""

    on: str | None = Field(
        None,
        description="where models run: on a Ray cluster (ray://HOST:10001 or HOST:6379), on a "
        "local Ray cluster (ray), or in this process (local); ray-data writes a folder of parts "
        "with Ray Data",
    )
    actors: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="with --on, the number of models to load; default: as many as fit on the nodes",
    )
    slots: int | None = Field(
        None,
        ge=1,
        le=256,
        description="with --on, the number of parallel requests to each loaded model",
    )
    cpus: int | None = Field(
        None, ge=1, description="with --on, the CPUs for each loaded model; default: up to 4"
    )
    gpus: float | None = Field(
        None, ge=0, description="with --on, the number of GPUs for each loaded model"
    )

    @property
    def ray_data(self) -> str | None:
        """The address in `--on ray-data://ADDRESS`, or None without Ray Data.

        The address is "" for `--on ray-data` and `--on ray-data://local`.

        Raises:
            UsageError: the text after "ray-data" is not an address.
        """
        if not self.on:
            return None
        from harness.models.cluster.address import ray_data

        return ray_data(self.on)

    @property
    def is_remote(self) -> bool:
        """True if `--on` names a cluster, including a cluster on this machine."""
        if not self.on:
            return False
        from harness.models.cluster.address import LOCAL

        return self.on != LOCAL


class GeneralOptions(SkillOptions):
    """Options that every command accepts; these options may also precede the command."""

    as_json: bool = Field(False, alias="json", description="print the result as a JSON object")
    model: str | None = Field(
        None, description="use only this model: an id of /models, or BACKEND/NAME"
    )
    no_fallback: bool = Field(
        False, description="use only the preferred model of the task, without a fallback"
    )
    force: bool = Field(False, description="overwrite an existing file")
    trust: bool = Field(False, description="trust the plugin that this line runs")
    yes: bool = Field(
        False,
        description="answer yes to every question: whether the model may write files, run commands "
        "or train; whether to overwrite files (in a session), install or remove skills, push a "
        "model to the Hugging Face Hub, or, with unregister, remove Ollama's model too",
    )
    no_log: bool = Field(
        False,
        description="keep this run out of the run log; annotations and conversations are still "
        "stored",
    )
    registry: Path | None = Field(
        None, description="use this registry file instead of your registry.yaml"
    )


class ProgramOptions(SkillOptions):
    """Options of `agent.py` that are only allowed before the line."""

    continue_: bool = Field(
        False,
        alias="continue",
        description="continue the last conversation of this folder (short: -c)",
    )
    no_session: bool = Field(False, description="do not store the conversation")
    prompt: str | None = Field(None, description="the line to run, given as an option (short: -p)")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: an option as the user types it.

    Attributes:
        name: the name with its two hyphens, such as "--min-votes".
        key: the key of the option in the Pydantic model: the field's alias, or else its name.
        sets: the value that a boolean flag sets, or None for a flag with a value.
        choices: the values of a Literal or an Enum in the type of the field, as typed.
        values: the values of `choices`, as stored in the option.
        many: True if the flag may be repeated.
        required: True if the flag is required.
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
    """Return the flags of option models by name; fields of a class precede inherited fields."""
    return {flag.name: flag for model in models for flag in _flags(model)}


@lru_cache(maxsize=MODELS)
def _flags(model: type[SkillOptions]) -> list[Flag]:
    own = inspect.get_annotations(model)
    own_first = sorted(model.model_fields.items(), key=lambda field: field[0] not in own)
    return [_flag(*field) for field in own_first]


@lru_cache(maxsize=MODELS)
def schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """Return the JSON Schema of a Pydantic model; cached, since each chat request needs it."""
    return model.model_json_schema()


def _flag(field_name: str, info: FieldInfo) -> Flag:
    key = info.alias or field_name
    hyphenated = key.replace("_", "-")
    about = info.description or ""
    kinds, many = _types(info.annotation)
    if kinds[0] is bool and not many:
        negative = info.default is True
        name = f"--no-{hyphenated}" if negative else f"--{hyphenated}"
        return Flag(name, key, about, sets=not negative, required=info.is_required())
    values = tuple(value for kind in kinds for value in _values(kind))
    choices = tuple(str(value.value if isinstance(value, Enum) else value) for value in values)
    others = (_METAVARS.get(kind, "VALUE") for kind in kinds if not _values(kind))
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return Flag(
        f"--{hyphenated}",
        key,
        about,
        sets=None,
        metavar="|".join((*dict.fromkeys(others), *choices)),
        default=default.value if isinstance(default, Enum) else default,
        choices=choices,
        values=values,
        many=many,
        required=info.is_required(),
    )


def _types(annotation: Any) -> tuple[list[Any], bool]:
    """Return the types of an option's values except None, and True if it is repeatable."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _types(parts[0])
    if origin in _MANY:
        return _types(parts[0])[0], True
    if origin in (Union, types.UnionType):
        found = [_types(part) for part in parts if part is not type(None)]
        return [kind for kinds, _ in found for kind in kinds], found[0][1]
    return [annotation], False


def _values(kind: Any) -> tuple[Any, ...]:
    """Return the values of a Literal or an Enum; () for any other type."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def grouped(skill: Skill) -> dict[tuple[str, ...], list[Flag]]:
    """Return the flags of a skill by the variants that have them; `()` stands for all variants."""
    limited: dict[tuple[str, str], tuple[Flag, list[str]]] = {}
    for case, model in skill.variants.items():
        for flag in flags(model).values():
            limited.setdefault((flag.name, flag.help), (flag, []))[1].append(case)
    names = {name for name, _ in limited}
    common = [flag for flag in flags(skill.Options).values() if flag.name not in names]
    groups: dict[tuple[str, ...], list[Flag]] = {(): common} if common else {}
    for flag, cases in limited.values():
        groups.setdefault(tuple(cases), []).append(flag)
    return groups


def flags_for(skill: Skill, subcommand: str) -> dict[str, Flag]:
    """Return the flags of a subcommand by name; for any other word, all flags of the skill."""
    known = flags(skill.Options)
    if subcommand not in skill.subcommands:
        return known
    others = {flag.name for cases, listed in grouped(skill).items() if cases for flag in listed}
    own = flags(skill.variants[subcommand]) if subcommand in skill.variants else {}
    read = skill.shared.get(subcommand, [flag.key for flag in known.values()])
    shared = {n: flag for n, flag in known.items() if n not in others and flag.key in read}
    return shared | own


def case_names(skill: Skill, cases: Iterable[str]) -> str:
    """Return the names of variants for a message, such as "a, b and c"."""
    *before, last = (case or f"/{skill.name} without a subcommand" for case in cases)
    return f"{', '.join(before)} and {last}" if before else last


def cases_of(skill: Skill, field: str) -> list[str]:
    """Return the variants that have an option; [] if the option applies to all variants."""
    return [case for case, model in skill.variants.items() if field in model.model_fields]


def check_variant(skill: Skill, options: SkillOptions, variant: str) -> None:
    """Raise UsageError if a given option does not apply to a variant of the skill."""
    for field in sorted(options.model_fields_set):
        if (cases := cases_of(skill, field)) and variant not in cases:
            name = _flag(field, type(options).model_fields[field]).name
            raise UsageError(
                f"{name} does not apply to {case_names(skill, [variant])}",
                hint=f"It applies to {case_names(skill, cases)}.",
            )


def paths(options: SkillOptions) -> Iterator[Path]:
    """Yield the paths among the option values."""
    for _, value in options:
        for one in value if isinstance(value, _MANY) else (value,):
            if isinstance(one, Path):
                yield one


def build(model: type[O], values: Mapping[str, Any]) -> O:
    """Validate option values, given by key, and return the options.

    Raises:
        UsageError: a value is invalid, or a required option is missing.
        SkillFailed: a validator of the skill raised an error that Pydantic does not handle.
    """
    known = {flag.key: flag for flag in flags(model).values()}
    try:
        return model.model_validate({k: _choice(known.get(k), v) for k, v in values.items()})
    except ValidationError as exc:
        message, hint = explain(exc.errors(), known)
        raise UsageError(message, hint=hint) from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # a plugin's validator may raise any exception
        raise SkillFailed(f"the skill's options failed: {type(exc).__name__}: {exc}") from exc


def _choice(flag: Flag | None, value: Any) -> Any:
    """Convert the text of a choice to the value of the choice, such as a number.

    A list is converted item by item; any other value is returned unchanged. The conversion is
    needed since Pydantic does not convert text to the values of a `Literal`.
    """
    if flag is None or not flag.choices:
        return value
    if isinstance(value, list):
        return [_choice(flag, one) for one in value]
    by_text = dict(zip(flag.choices, flag.values, strict=True))
    return by_text.get(value, value) if isinstance(value, str) else value


def explain(errors: Iterable[ErrorDetails], known: Mapping[str, Flag]) -> tuple[str, str | None]:
    """Return one message for all validation errors, and a hint or None.

    Args:
        known: the flags by `Flag.key`.
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
    """Return the key of the option with an error, and the index of the invalid value.

    The index is None if the value is not an item of a list. Errors for the members of a union have
    the same key and index, and become one message.
    """
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
    if isinstance(given, list) and len(given) == 1:  # the value of a flag that may be repeated
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
