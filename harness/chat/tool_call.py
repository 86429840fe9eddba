"""Conversion of a model's tool call into an invocation of a skill.

No line is parsed: what a model puts into a text never becomes an option or a file to write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.api import options as opts
from harness.api.options import GeneralOptions
from harness.api.skill import Skill
from harness.chat.tool_schema import FOR_USERS, OWN, SAVE_TO, SUBCOMMAND, TEXT
from harness.errors import UsageError
from harness.models.backends.base import ToolCall
from harness.runs.invocation import Invocation, as_targets
from harness.support.suggestions import did_you_mean


def invocation_of(skill: Skill, call: ToolCall) -> Invocation:
    """Return the invocation of `skill` that a tool call requests.

    Raises:
        UsageError: the arguments are not a JSON object, contain unknown parameters, or have values
            of the wrong type.
    """
    given = arguments_of(call)
    subcommand, text = string(given, SUBCOMMAND), string(given, TEXT)
    if subcommand and subcommand not in skill.subcommands:
        known = ", ".join(skill.subcommands) or "none"
        raise UsageError(f"/{skill.name} has no subcommand {subcommand!r}", hint=f"It has {known}.")
    if skill.text == "required" and not text.strip():
        raise UsageError(f"{TEXT} is required: {skill.usage}")
    targets = given.get(SAVE_TO) or []
    targets = targets if isinstance(targets, list) else [targets]
    for target in targets:
        if not isinstance(target, str) or not target:
            raise UsageError(f"{SAVE_TO}: {target!r} is not a path")
    paths, folders = as_targets(targets)
    return Invocation(
        name=skill.name,
        subcommand=subcommand,
        text=text,
        options=opts.build(skill.Options, _options(skill, subcommand, given)),
        general=GeneralOptions(),
        targets=paths,
        folders=folders,
    )


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """Return the arguments that are not null.

    Raises:
        UsageError: they are not a JSON object.
    """
    try:
        given = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"the arguments are not JSON: {call.arguments[:200]!r} ({exc})",
            hint="Give one JSON object.",
        ) from exc
    if not isinstance(given, dict):
        raise UsageError(f"the arguments are not a JSON object: {call.arguments[:200]!r}")
    return {key: value for key, value in given.items() if value is not None}


def string(given: Mapping[str, Any], key: str) -> str:
    """Return a text among the arguments, or "" if it is missing.

    Raises:
        UsageError: it is not text.
    """
    value = given.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{key}: {value!r} is not text")
    return value


def _options(skill: Skill, subcommand: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option values as a line has them: text, except for switches that are on.

    Raises:
        UsageError: the skill has no such option.
    """
    known = {flag.key: flag for flag in opts.flags(skill.Options).values()}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in OWN:
            continue
        if key not in known:
            flags = opts.flags_for(skill, subcommand).values()
            read = [flag.key for flag in flags if flag.key not in FOR_USERS]
            raise UsageError(
                f"there is no option {key!r}",
                hint=f"{did_you_mean(key, read)} There are {', '.join(read) or 'none'}.".lstrip(),
            )
        flag = known[key]
        if flag.sets is not None and value is (not flag.sets):
            continue
        if flag.sets is None:
            many = [value] if flag.many and not isinstance(value, list) else value
            value = [_text(one) for one in many] if isinstance(many, list) else _text(many)
        values[key] = value
    return values


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
