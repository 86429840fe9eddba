"""Skills as tools that a model may call.

A tool has the skill's name. Its parameters are the options of the skill. The tool also has the
parameter `subcommand` if the skill has subcommands, `text` if the skill takes a text, and `save_to`
if its results can be saved. A call is converted to an `Invocation` without parsing a line, so that
the text of a model never becomes an option or a file to write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.api import options as opts
from harness.api.options import GeneralOptions
from harness.api.skill import Skill
from harness.chat import toolbox
from harness.chat.toolbox import ALL, DETAILS, OPTIONS, PreparedCall, arguments_of, string
from harness.errors import Interrupted, ReaderGone, UsageError, did_you_mean
from harness.models.backend import Tool, ToolCall
from harness.plugins.catalogue import BUILT_IN
from harness.runs.frontend import Outcome, show_saved
from harness.runs.invocation import Invocation, as_targets, render_line
from harness.runs.run_log import Run
from harness.runs.targets import folder_names
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.cli.app import App

SUBCOMMAND, TEXT, SAVE_TO = "subcommand", "text", "save_to"
OWN = (SUBCOMMAND, TEXT, SAVE_TO)
"""Parameters that are not options. An option with such a name is not offered to models."""
FOR_USERS = frozenset(opts.ClusterOptions.model_fields)
"""Options that are not offered to models, since the user decides where models run."""
SUMMARY = 300
"""Maximum number of characters of a summary; the description in a SKILL.md may have 1,024."""
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def tool_of(skill: Skill, level: int = ALL, only: Sequence[str] = ()) -> Tool:
    """Return the tool of a skill at a level of detail.

    Args:
        only: the only subcommands to offer; the parameter `save_to` is then left out. If empty, all
            subcommands and `save_to` are offered.
    """
    parts = [skill.summary[:SUMMARY]]
    if level >= DETAILS and skill.details:
        # blanks that align columns mean nothing to a model
        parts.append(re.sub(r" {2,}", " ", skill.details).strip())
    needed = [flag.key for flag in opts.flags(skill.Options).values() if flag.required]
    properties = {**_own(skill, level, only), **_parameters(skill, level, needed, only)}
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    required = [SUBCOMMAND] * bool(only) + [TEXT] * (skill.text == "required") + needed
    if required:
        parameters["required"] = required
    return Tool(skill.name, "\n".join(parts), parameters)


def plain_parameters(schema: Mapping[str, Any], *, described: bool) -> dict[str, Any]:
    """Return the properties in the JSON Schema of a Pydantic model as parameters of a tool.

    Args:
        described: True to include the descriptions of the properties.
    """
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


def _parameters(
    skill: Skill, level: int, needed: Sequence[str], only: Sequence[str]
) -> dict[str, Any]:
    schema = opts.schema_of(skill.Options)
    descriptions: dict[str, list[str]] = {}
    for cases, listed in opts.grouped(skill).items():
        for flag in listed:
            # The help of a flag such as --no-highlights describes the value false of its option.
            does = f"false to {flag.help}" if flag.sets is False else flag.help
            about = f"{opts.case_names(skill, cases)}: {does}" if cases else does
            descriptions.setdefault(flag.key, []).append(about)
    read = {k: flag for name in only or [""] for k, flag in opts.flags_for(skill, name).items()}
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
    """Return a JSON Schema without references, null choices and formats.

    Some model servers do not support `$ref`, `anyOf` and `format`. If several choices are left, the
    first one is used.
    """
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


def invocation_of(skill: Skill, call: ToolCall) -> Invocation:
    """Return the invocation of `skill` that a tool call requests.

    Raises:
        UsageError: the arguments are not a JSON object, or not valid for the tool of the skill.
    """
    given = arguments_of(call)
    subcommand, text = string(given, SUBCOMMAND), string(given, TEXT)
    if subcommand and subcommand not in skill.subcommands:
        known = ", ".join(skill.subcommands) or "none"
        raise UsageError(
            f"/{skill.name} has no subcommand {subcommand!r}", hint=f"Subcommands: {known}."
        )
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


def _options(skill: Skill, subcommand: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option values of a call by key, in the form that the parser of lines returns.

    Raises:
        UsageError: an argument is not an option of the skill.
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
                hint=f"{did_you_mean(key, read)} Options: {', '.join(read) or 'none'}.".lstrip(),
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


def skill_tools(app: App, shipped: bool) -> Iterator[SkillTool]:
    """Yield the tools of the shipped skills, or of all other skills if `shipped` is False.

    Skills that a model may not call are left out.
    """
    for found in app.catalogue.skills.values():
        if (found.origin == BUILT_IN) is shipped and found.skill.tool:
            yield SkillTool(app, found.skill)


@dataclass(frozen=True, slots=True)
class SkillTool:
    """The tool of a skill; the application runs the calls."""

    app: App
    skill: Skill

    @property
    def name(self) -> str:
        return self.skill.name

    def described(self, level: int) -> Tool:
        return tool_of(self.skill, level)

    def prepared(self, call: ToolCall) -> PreparedCall:
        invocation = invocation_of(self.skill, call)
        line = render_line(self.skill, invocation)

        def work(screen: Screen, run: Run) -> tuple[str, int]:
            outcome = self.app.run_called(invocation, line, run=run)
            data = toolbox.shortened(json.loads(outcome.result.as_json()))
            return finished(outcome, toolbox.content_of(outcome, result=data), screen)

        return PreparedCall(line, work)


def finished(outcome: Outcome, content: Mapping[str, Any], screen: Screen) -> tuple[str, int]:
    """Show the saved files of a run; return the message for the model, and the exit code.

    Raises:
        Interrupted, ReaderGone: the run was stopped.
    """
    show_saved(outcome, screen)
    if isinstance(outcome.result.stopped, (Interrupted, ReaderGone)):
        raise outcome.result.stopped
    return toolbox.compact(content), outcome.result.code
