"""Skills as tools: what a model is told of them, made of what the skills declare.

A tool has the skill's name. Its parameters are the skill's options, and besides them `subcommand`,
`text` and `save_to` where the skill has such a thing.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.api.options import flags
from harness.api.skill import Skill
from harness.models.backends.base import Tool

SUBCOMMAND, TEXT, SAVE_TO = "subcommand", "text", "save_to"
OWN = (SUBCOMMAND, TEXT, SAVE_TO)
"""Parameters that are no options. An option of such a name cannot be given by a model."""
BARE, DETAILS, OPTIONS, ALL = range(4)
"""How much is told: what cannot be left out; the skill's details, which say what to write into a
text; the options without their descriptions; everything."""
SUMMARY = 300
"""Characters of a summary: a SKILL.md may have a description of 1,024."""
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def tools_of(skills: Iterable[Skill], most: int) -> tuple[Tool, ...]:
    """A tool for each skill, in `most` bytes together.

    Told is as much as there is room for: first what no skill can do without, then the details of
    one after the other, then options, then what those are for. Skills that have no room at all are
    left out.
    """
    asked = [*skills]
    chosen: dict[Skill, Tool] = {}
    room = most
    for level in (BARE, DETAILS, OPTIONS, ALL):
        for skill in asked:
            if level > BARE and skill not in chosen:
                continue
            tool = tool_of(skill, level)
            needed = size(tool) - (size(chosen[skill]) if skill in chosen else 0)
            if needed <= room:
                chosen[skill], room = tool, room - needed
    return tuple(chosen.values())


def tool_of(skill: Skill, level: int = ALL) -> Tool:
    """The tool that `skill` is."""
    parts = [skill.summary[:SUMMARY]]
    if level >= DETAILS and skill.details:
        parts.append(textwrap.dedent(skill.details).strip())
    needed = _required(skill)
    properties = {**_own(skill), **_options(skill, level, needed)}
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    required = [TEXT] * (skill.text == "required") + needed
    if required:
        parameters["required"] = required
    return Tool(skill.name, "\n".join(parts), parameters)


def size(tool: Tool) -> int:
    """Bytes that a tool takes on the wire."""
    told = f"{tool.name}{tool.description}{json.dumps(dict(tool.parameters))}"
    return len(told.encode()) + 60


def _own(skill: Skill) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if skill.subcommands:
        each = "; ".join(f"{name}: {about}" for name, about in skill.subcommands.items())
        found[SUBCOMMAND] = {"type": "string", "enum": list(skill.subcommands), "description": each}
    if skill.text != "none":
        found[TEXT] = {"type": "string", "description": skill.usage}
    if skill.saves:
        about = f"the file to write the result to: {', '.join(skill.saves)}"
        found[SAVE_TO] = {"type": "string", "description": about}
    return found


def _options(skill: Skill, level: int, needed: Sequence[str]) -> dict[str, Any]:
    """Each option with its JSON Schema, without what says nothing to a model."""
    schema = skill.Options.model_json_schema(by_alias=True)
    found = {}
    for flag in flags(skill.Options).values():
        if flag.key in OWN or (level < OPTIONS and flag.key not in needed):
            continue
        told = _plain(schema["properties"][flag.key], schema.get("$defs", {}))
        if flag.help and (level >= ALL or flag.key in needed):
            told["description"] = flag.help
        found[flag.key] = told
    return found


def _required(skill: Skill) -> list[str]:
    fields = skill.Options.model_fields.items()
    return [info.alias or name for name, info in fields if info.is_required()]


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """A type that every server understands: no references, no choice with null, no formats."""
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
