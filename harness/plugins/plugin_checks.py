"""Check the properties of the skills, frameworks and formats that a plugin registers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from harness.agent_skills.skill_file import NAME
from harness.api.options import GeneralOptions, flags
from harness.api.result import Format
from harness.api.skill import Impact, Needs, Skill, SkillOptions
from harness.errors import UsageError

SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,16}){1,2}")


def check_framework(name: Any, path: Any) -> None:
    """Check that a framework has a valid name and an existing file.

    Raises:
        UsageError: the framework is invalid.
    """
    _checked_name("framework", name)
    if not isinstance(path, Path) or not path.is_file():
        raise UsageError(f"the framework {name} has no such file: {path}")


def _checked_name(kind: str, name: object) -> str:
    """Return a valid name of a skill or framework; raise UsageError for an invalid name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"the {kind} name {name!r} must be lower-case letters, digits and hyphens")
    return name


def check_format(found: Any) -> None:
    """Check the attributes of a format.

    Raises:
        UsageError: an attribute is invalid.
    """
    if not isinstance(found, Format):
        raise UsageError(f"{type(found).__name__} is not a harness.Format")
    suffix = getattr(found, "suffix", None)
    if not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
        raise UsageError(f'the suffix {suffix!r} of a format is not like ".org"')
    if not str(getattr(found, "summary", "")).strip():
        raise UsageError(f"the format {suffix} has no summary")
    if isinstance(getattr(found, "skills", None), str):
        raise UsageError(f"the format {suffix}: skills is a string, not a set of names")


def check_skill(skill: Any, *, schema: bool = True) -> None:
    """Check the attributes of a skill.

    Args:
        schema: True to check also that the options and results have a JSON Schema.

    Raises:
        UsageError: an attribute is invalid.
        Exception: raised by the code of the skill.
    """
    name = _checked_name("skill", getattr(skill, "name", None))
    summary = getattr(skill, "summary", "")
    if not isinstance(summary, str) or not summary.strip():
        raise UsageError(f"/{name} has no summary")
    options = getattr(skill, "Options", None)
    if not (isinstance(options, type) and issubclass(options, SkillOptions)):
        raise UsageError(f"/{name}: Options is not a subclass of SkillOptions")
    if not isinstance(skill, Skill):
        raise UsageError(f"/{name} is not a harness.Skill")
    own = flags(options)
    if taken := own.keys() & {*flags(GeneralOptions), "--help"}:
        raise UsageError(f"/{name}: {', '.join(sorted(taken))} belongs to the harness")
    if len(own) < len(options.model_fields):
        raise UsageError(f"/{name}: two of the options have the same name")
    _check_attributes(skill)
    for trigger in skill.triggers:
        re.compile(trigger)
    _check_for_programs(skill)
    if schema:
        _check_schema(name, options, "Options have")
        for what, model in _outputs(skill):
            _check_schema(name, model, f"{what} has")


def _check_schema(name: str, model: type[BaseModel], what: str) -> None:
    """Check that a Pydantic model has a JSON Schema, for /help, the chat model and MCP clients.

    Args:
        what: the beginning of the message after the name of the skill, such as "Options have".

    Raises:
        UsageError: pydantic cannot create the schema.
    """
    from pydantic import PydanticInvalidForJsonSchema
    from pydantic.json_schema import PydanticJsonSchemaWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        try:
            model.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticJsonSchemaWarning) as exc:
            reason = str(exc).partition("\n")[0]
            raise UsageError(f"/{name}: {what} no JSON Schema: {reason}") from exc


def _check_for_programs(skill: Skill) -> None:
    """Raise UsageError if `impact`, `output` or `output_summary` of a skill is invalid."""
    for what, model in _outputs(skill):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise UsageError(f"/{skill.name}: {what} is not a pydantic model")
    for subcommand, impact in dict(skill.impact).items():
        if impact not in get_args(Impact):
            known = ", ".join(get_args(Impact))
            raise UsageError(f"/{skill.name}: impact is {impact!r}, not one of {known}")
        if subcommand and subcommand not in skill.subcommands:
            raise UsageError(
                f"/{skill.name}: impact contains {subcommand!r}, which is not a subcommand"
            )


def _check_attributes(skill: Skill) -> None:
    if skill.text not in get_args(Needs):
        raise UsageError(
            f"/{skill.name}: text is {skill.text!r}, not {' or '.join(get_args(Needs))}"
        )
    for what, kind, keys in (
        ("a string", str, ("usage", "details")),
        ("a mapping of strings to strings", Mapping, ("subcommands", "target_text")),
        ("a tuple of strings", (tuple, list), ("phrases", "saves", "folders", "triggers")),
    ):
        for key in keys:
            value = getattr(skill, key)
            parts = (*value, *value.values()) if isinstance(value, Mapping) else value
            if not isinstance(value, kind) or not all(isinstance(part, str) for part in parts):
                raise UsageError(f"/{skill.name}: {key} is not {what}")
    if wrong := [suffix for suffix in skill.saves if not SUFFIX.fullmatch(suffix)]:
        raise UsageError(f"/{skill.name}: {wrong[0]!r} is not a suffix like .txt")


def _outputs(skill: Skill) -> Iterator[tuple[str, Any]]:
    """Yield (name of the attribute, model) for each model in `output` and `output_summary`."""
    for what, models in (("output", skill.output), ("output_summary", skill.output_summary)):
        each = models.values() if isinstance(models, Mapping) else [models]
        yield from ((what, model) for model in each if models is not None)
