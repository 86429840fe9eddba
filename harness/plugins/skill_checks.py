"""What a skill must be before it is kept: all that the harness would trip over later."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import PydanticInvalidForJsonSchema
from pydantic.json_schema import PydanticJsonSchemaWarning

from harness.agent_skills import skill_md
from harness.api.options import Flag, GeneralOptions, flags
from harness.api.skill import Needs, Skill, SkillOptions
from harness.errors import UsageError

SUFFIX = re.compile(r"\.[a-z0-9]{1,16}")


def check_skill(skill: Any) -> None:
    """Refuse what the harness could not use.

    Raises:
        UsageError: of what is wrong.
        Exception: whatever the skill's own code raises.
    """
    name = getattr(skill, "name", None)
    if not isinstance(name, str) or not skill_md.NAME.fullmatch(name):
        raise UsageError(f"the skill name {name!r} is not lower-case letters, digits and hyphens")
    summary = getattr(skill, "summary", "")
    if not isinstance(summary, str) or not summary.strip():
        raise UsageError(f"/{name} has no summary")
    options = getattr(skill, "Options", None)
    if not (isinstance(options, type) and issubclass(options, SkillOptions)):
        raise UsageError(f"/{name}: Options is no subclass of SkillOptions")
    if not isinstance(skill, Skill):
        raise UsageError(f"/{name} is no harness.Skill")
    _check_flags(name, options)
    _check_attributes(skill)
    for trigger in skill.triggers:
        re.compile(trigger)


def _check_flags(name: str, options: type[SkillOptions]) -> None:
    mine = [_flag_of(options, field) for field in options.model_fields]
    names = [flag.name for flag in mine]
    if taken := set(names) & {*flags(GeneralOptions), "--help"}:
        raise UsageError(f"/{name}: {', '.join(sorted(taken))} belongs to the harness")
    if twice := {n for n in names if names.count(n) > 1}:
        raise UsageError(f"/{name}: {', '.join(sorted(twice))} stands for two options")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        try:
            options.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticJsonSchemaWarning) as exc:
            # Else it ends /help, and each turn of chat, or every run of the skill itself.
            reason = str(exc).partition("\n")[0]
            raise UsageError(f"/{name}: Options have no JSON Schema: {reason}") from exc


def _flag_of(options: type[SkillOptions], field: str) -> Flag:
    """The flag of one field alone: `flags` keeps one where two have the same name."""
    one = type("One", (), {"model_fields": {field: options.model_fields[field]}})
    [flag] = flags(one).values()
    return flag


def _check_attributes(skill: Skill) -> None:
    """Types that help, completion and grammar rely on."""
    for key in ("usage", "details"):
        if not isinstance(getattr(skill, key), str):
            raise UsageError(f"/{skill.name}: {key} is no text")
    if skill.text not in get_args(Needs):
        raise UsageError(
            f"/{skill.name}: text is {skill.text!r}, not {' or '.join(get_args(Needs))}"
        )
    for key in ("subcommands", "target_text"):
        value = getattr(skill, key)
        if not isinstance(value, Mapping) or not all(
            isinstance(part, str) for pair in value.items() for part in pair
        ):
            raise UsageError(f"/{skill.name}: {key} is no mapping of text to text")
    for key in ("saves", "triggers"):
        value = getattr(skill, key)
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"/{skill.name}: {key} is no tuple of texts")
    if wrong := [suffix for suffix in skill.saves if not SUFFIX.fullmatch(suffix)]:
        raise UsageError(f"/{skill.name}: {wrong[0]!r} is no suffix like .txt")
