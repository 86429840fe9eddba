"""JSON Schema of skills as tools that a model may call.

A tool has the skill's name. Its parameters are the skill's options, and `subcommand`, `text` and
`save_to` where the skill has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.cluster_options import ClusterOptions
from harness.api.options import case_names, flags, flags_for, grouped, schema_of
from harness.api.skill import Skill
from harness.chat.tools import ALL, DETAILS, OPTIONS
from harness.models.backends.base import Tool
from harness.runs.targets import folder_names

SUBCOMMAND, TEXT, SAVE_TO = "subcommand", "text", "save_to"
OWN = (SUBCOMMAND, TEXT, SAVE_TO)
"""Parameters that are not options. A model cannot give an option of such a name."""
FOR_USERS = frozenset(ClusterOptions.model_fields)
"""Options that no tool offers: where models run does not concern the task, and takes room."""
SUMMARY = 300
"""Characters of a summary: a SKILL.md may have a description of 1,024."""
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def tool_of(skill: Skill, level: int = ALL, only: Sequence[str] = ()) -> Tool:
    """Return the tool of a skill at a level of detail.

    Args:
        only: subcommands, one of which a call has to have; its result is not saved.
    """
    parts = [skill.summary[:SUMMARY]]
    if level >= DETAILS and skill.details:
        parts.append(re.sub(r" {2,}", " ", skill.details).strip())  # columns need a screen
    needed = [flag.key for flag in flags(skill.Options).values() if flag.required]
    properties = {**_own(skill, level, only), **_options(skill, level, needed, only)}
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    required = [SUBCOMMAND] * bool(only) + [TEXT] * (skill.text == "required") + needed
    if required:
        parameters["required"] = required
    return Tool(skill.name, "\n".join(parts), parameters)


def plain_parameters(schema: Mapping[str, Any], *, described: bool) -> dict[str, Any]:
    """Return the parameters of a model's JSON Schema, with or without their descriptions."""
    found = {}
    for name, about in schema["properties"].items():
        found[name] = _plain(about, schema.get("$defs", {}))
        if described and "description" in about:
            found[name]["description"] = about["description"]
    return found


def _own(skill: Skill, level: int, only: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if names := list(only or skill.subcommands):
        found[SUBCOMMAND] = {"type": "string", "enum": names}
        if level >= DETAILS:
            each = "; ".join(f"{name}: {skill.subcommands[name]}" for name in names)
            found[SUBCOMMAND]["description"] = each
    if skill.text != "none":
        found[TEXT] = {"type": "string", "description": skill.usage}
    if skill.saves and not only:
        found[SAVE_TO] = {"type": "string"}
        if level >= DETAILS:
            known = ", ".join((*skill.saves, *folder_names(skill)))
            about = f"the file or folder to write the result to: {known}"
            found[SAVE_TO]["description"] = about
    return found


def _options(
    skill: Skill, level: int, needed: Sequence[str], only: Sequence[str]
) -> dict[str, Any]:
    schema = schema_of(skill.Options)
    descriptions: dict[str, list[str]] = {}
    for cases, listed in grouped(skill).items():
        for flag in listed:
            about = f"{case_names(skill, cases)}: {flag.help}" if cases else flag.help
            descriptions.setdefault(flag.key, []).append(about)
    read = {key: flag for name in only or [""] for key, flag in flags_for(skill, name).items()}
    found = {}
    for flag in read.values():
        if flag.key in OWN or flag.key in FOR_USERS or (level < OPTIONS and flag.key not in needed):
            continue
        parameter = _plain(schema["properties"][flag.key], schema.get("$defs", {}))
        if flag.help and (level >= ALL or flag.key in needed):
            parameter["description"] = "; ".join(descriptions[flag.key])
        found[flag.key] = parameter
    return found


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that every server supports: no references, null choices or formats."""
    if "$ref" in schema:
        return _plain(defs[schema["$ref"].rpartition("/")[2]], defs)
    choices = [c for c in schema.get("anyOf", ()) if c.get("type") != "null"]
    if choices:
        return _plain(choices[0], defs)
    plain = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    if schema.get("type") == "array":
        plain["items"] = _plain(schema.get("items") or {}, defs)
    plain.setdefault("type", "string")
    return plain
