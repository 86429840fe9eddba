"""Checks of a skill before it is registered: everything the harness relies on later."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, get_args

from harness.agent_skills import skill_md
from harness.api.options import Flag, GeneralOptions, flags
from harness.api.skill import Needs, Skill, SkillOptions
from harness.errors import UsageError
from harness.plugins.checks import SUFFIX


def check_skill(skill: Any, *, schema: bool = True) -> None:
    """Refuse a skill that the harness could not use.

    Args:
        schema: check that its options have a JSON Schema, too.

    Raises:
        UsageError: with the attribute at fault.
        Exception: whatever the skill's own code raises.
    """
    name = getattr(skill, "name", None)
    if not isinstance(name, str) or not skill_md.NAME.fullmatch(name):
        raise UsageError(f"the skill name {name!r} must be lower-case letters, digits and hyphens")
    summary = getattr(skill, "summary", "")
    if not isinstance(summary, str) or not summary.strip():
        raise UsageError(f"/{name} has no summary")
    options = getattr(skill, "Options", None)
    if not (isinstance(options, type) and issubclass(options, SkillOptions)):
        raise UsageError(f"/{name}: Options is not a subclass of SkillOptions")
    if not isinstance(skill, Skill):
        raise UsageError(f"/{name} is not a harness.Skill")
    _check_flags(name, options)
    _check_attributes(skill)
    for trigger in skill.triggers:
        re.compile(trigger)
    if schema:
        _check_schema(name, options)


def _check_flags(name: str, options: type[SkillOptions]) -> None:
    own = [_flag_of(options, field) for field in options.model_fields]
    names = [flag.name for flag in own]
    if taken := set(names) & {*flags(GeneralOptions), "--help"}:
        raise UsageError(f"/{name}: {', '.join(sorted(taken))} belongs to the harness")
    if twice := {n for n in names if names.count(n) > 1}:
        raise UsageError(f"/{name}: two options have the name {', '.join(sorted(twice))}")


def _check_schema(name: str, options: type[SkillOptions]) -> None:
    """Refuse options without a JSON Schema, which /help and the tools of a chat need."""
    from pydantic import PydanticInvalidForJsonSchema
    from pydantic.json_schema import PydanticJsonSchemaWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        try:
            options.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticJsonSchemaWarning) as exc:
            reason = str(exc).partition("\n")[0]
            raise UsageError(f"/{name}: Options have no JSON Schema: {reason}") from exc


def _flag_of(options: type[SkillOptions], field: str) -> Flag:
    """Return the flag of one field; `flags` keeps only one of two with the same name."""
    one = type("One", (), {"model_fields": {field: options.model_fields[field]}})
    [flag] = flags(one).values()
    return flag


def _check_attributes(skill: Skill) -> None:
    for key in ("usage", "details"):
        if not isinstance(getattr(skill, key), str):
            raise UsageError(f"/{skill.name}: {key} is not a string")
    if skill.text not in get_args(Needs):
        raise UsageError(
            f"/{skill.name}: text is {skill.text!r}, not {' or '.join(get_args(Needs))}"
        )
    for key in ("subcommands", "target_text"):
        value = getattr(skill, key)
        if not isinstance(value, Mapping) or not all(
            isinstance(part, str) for pair in value.items() for part in pair
        ):
            raise UsageError(f"/{skill.name}: {key} is not a mapping of strings to strings")
    for key in ("saves", "triggers"):
        value = getattr(skill, key)
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"/{skill.name}: {key} is not a tuple of strings")
    if wrong := [suffix for suffix in skill.saves if not SUFFIX.fullmatch(suffix)]:
        raise UsageError(f"/{skill.name}: {wrong[0]!r} is not a suffix like .txt")
