"""A model's call of a tool as the line that a user would have typed.

The line is the call: it is shown, logged and run. What a model puts into a text stays text there,
and never becomes an option or a file to write: a line that would be read in another way is written
with `--` before the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.api import options as opts
from harness.api.skill import Skill, SkillOptions
from harness.chat.tool_schema import OWN, SAVE_TO, SUBCOMMAND, TEXT
from harness.errors import UsageError
from harness.models.backends.base import ToolCall
from harness.runs import grammar

_BARE = re.compile(r"(?!--)[^\s\"'][^\s]*")


def line_of(skill: Skill, call: ToolCall) -> str:
    """The line that `call` of `skill` amounts to.

    Raises:
        UsageError: the arguments are no JSON object, name something that the skill does not have,
            or are not of its types.
    """
    given = _arguments(call)
    subcommand, text = _string(given, SUBCOMMAND), _string(given, TEXT)
    targets = _targets(given.get(SAVE_TO))
    values = _typed(skill, {key: value for key, value in given.items() if key not in OWN})
    if subcommand and subcommand not in skill.subcommands:
        known = ", ".join(skill.subcommands) or "none"
        raise UsageError(f"/{skill.name} has no subcommand {subcommand!r}", hint=f"It has {known}.")
    if skill.text == "required" and not text.strip():
        raise UsageError(f"{TEXT} is required: {skill.usage}")
    options = opts.build(skill.Options, values)
    words = [*_flags(skill, options, values)]
    head = " ".join(filter(None, (f"/{skill.name}", subcommand)))
    save = [f"-o {_quoted(target)}" for target in targets]
    natural = [head, text, *words, *(["save to " + save[0][3:], *save[1:]] if save else ())]
    wanted = (subcommand, text, options.model_dump(), [grammar.as_path(t) for t in targets])
    for line in (
        " ".join(filter(None, natural)),
        " ".join(filter(None, (head, *words, *save, f"-- {text}"))),
    ):
        if _read(skill, line) == wanted:
            return line
    raise UsageError(f"these arguments of /{skill.name} cannot stand on one line")


def _arguments(call: ToolCall) -> dict[str, Any]:
    """What was given, without what says that it was not."""
    try:
        given = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"the arguments are no JSON: {call.arguments[:200]!r} ({exc})",
            hint="Give one JSON object.",
        ) from exc
    if not isinstance(given, dict):
        raise UsageError(f"the arguments are no JSON object: {call.arguments[:200]!r}")
    return {key: value for key, value in given.items() if value is not None}


def _string(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{key}: {value!r} is no text")
    return value


def _targets(value: Any) -> list[str]:
    targets = value if isinstance(value, list) else [value] if value else []
    for target in targets:
        if not (isinstance(target, str) and target):
            raise UsageError(f"{SAVE_TO}: {target!r} is no path")
    return targets


def _typed(skill: Skill, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a line has them: all but switches are words there, and one may be many."""
    known = opts.flags(skill.Options).values()
    switches = {flag.key for flag in known if flag.sets is not None}
    many = {flag.key for flag in known if flag.many}

    def typed(key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [typed(key, one) for one in value]
        if isinstance(value, bool):
            return value if key in switches else str(value).lower()
        return str(value) if isinstance(value, (int, float)) else value

    return {
        key: typed(key, [value] if key in many and not isinstance(value, list) else value)
        for key, value in given.items()
    }


def _flags(skill: Skill, options: SkillOptions, values: Mapping[str, Any]) -> Iterator[str]:
    """The options that were given, as they are typed."""
    validated = options.model_dump(by_alias=True)
    for flag in opts.flags(skill.Options).values():
        if flag.key not in values:
            continue
        if flag.sets is not None:
            if validated[flag.key] == flag.sets:
                yield flag.name
            continue
        value = values[flag.key]
        for one in value if isinstance(value, list) else [value]:
            yield f"{flag.name} {_quoted(str(one))}"


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    for quote in "\"'":
        if quote not in value and "\n" not in value:
            return f"{quote}{value}{quote}"
    raise UsageError(f"{value!r} cannot stand on a line")


def _read(skill: Skill, line: str) -> tuple[Any, ...] | None:
    """How a line is read; None if it is another one than meant."""
    split = grammar.split_command(line)
    assert split is not None, "a skill's name is checked when it is registered"
    try:
        read = grammar.parse(skill, split[1])
    except UsageError:
        return None
    if read.help or read.general != opts.GeneralOptions():
        return None
    return read.subcommand, read.text, read.options.model_dump(), list(read.targets)
