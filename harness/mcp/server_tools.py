"""Skills as MCP tools, and outcomes as results of calls.

A skill is one tool. If some of its subcommands only read, they are a second tool, NAME_read, which
a client may allow without asking.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import types
from pydantic import BaseModel, ValidationError

from harness.api.skill import Impact, Skill
from harness.chat import tool_result
from harness.chat.tool_call import invocation_of
from harness.chat.tool_schema import SAVE_TO, SUBCOMMAND, tool_of
from harness.errors import HarnessError, SkillFailed, UsageError
from harness.models.backends.base import ToolCall
from harness.runs.frontend import Outcome
from harness.runs.invocation import Invocation

READING = "_read"
"""The end of the name of a tool that only reads; no skill has a name with an underscore."""
RESULT, SUMMARY = "result", "summary"
TEXT = 20_000
"""Characters of the result as text, which models read; the structured result is complete."""


@dataclass(frozen=True, slots=True)
class SkillTool:
    """A skill, or those of its subcommands that only read, as a tool."""

    skill: Skill
    reading: bool = False

    @property
    def name(self) -> str:
        return self.skill.name + READING * self.reading

    @property
    def only_reads(self) -> bool:
        """Whether no call changes anything, not even a file."""
        return self._impacts == {"reads"} and (self.reading or not self.skill.saves)

    @property
    def _subcommands(self) -> Sequence[str]:
        """The subcommands that a call may have; "" is a call without one."""
        if self.reading:
            return reading_subcommands(self.skill)
        return "", *self.skill.subcommands

    @property
    def _impacts(self) -> set[Impact]:
        return {self.skill.impact_of(name) for name in self._subcommands}

    @property
    def described(self) -> types.Tool:
        """The tool as `tools/list` contains it."""
        skill, tool = self.skill, tool_of(self.skill)
        return types.Tool(
            name=self.name,
            description=tool.description,
            input_schema={
                **tool.parameters,
                **self._parameters(tool.parameters),
                "additionalProperties": False,
            },
            output_schema=_output_schema(skill, self._subcommands),
            annotations=types.ToolAnnotations(
                read_only_hint=self.only_reads,
                destructive_hint=None if self.only_reads else "changes" in self._impacts,
            ),
        )

    def _parameters(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the properties, and which of them are required."""
        properties = dict(parameters["properties"])
        if not self.reading:
            return {"properties": properties}
        names = list(self._subcommands)
        about = "; ".join(f"{name}: {self.skill.subcommands[name]}" for name in names)
        properties.pop(SAVE_TO, None)
        properties[SUBCOMMAND] = {"type": "string", "enum": names, "description": about}
        required = [SUBCOMMAND, *parameters.get("required", ())]
        return {"properties": properties, "required": required}

    def invocation(self, arguments: Mapping[str, Any]) -> Invocation:
        """Return the invocation that a call requests.

        Raises:
            UsageError: the arguments are wrong, or it would do more than read.
        """
        call = ToolCall(self.name, json.dumps(arguments))
        invocation = invocation_of(self.skill, call)
        known = self._subcommands
        if self.reading and (invocation.subcommand not in known or invocation.targets):
            raise UsageError(
                f"{self.name} only reads: {SUBCOMMAND} is one of {', '.join(known)}, and there is "
                f"no {SAVE_TO}",
                hint=f"The tool {self.skill.name} has all of /{self.skill.name}.",
            )
        return invocation


def tools_of(skill: Skill) -> Iterator[SkillTool]:
    """Yield the tools of a skill."""
    tool = SkillTool(skill)
    yield tool
    if reading_subcommands(skill) and not tool.only_reads:
        yield SkillTool(skill, reading=True)


def reading_subcommands(skill: Skill) -> list[str]:
    """Return the subcommands that only read."""
    return [name for name in skill.subcommands if skill.impact_of(name) == "reads"]


def _output_schema(skill: Skill, subcommands: Sequence[str]) -> dict[str, Any]:
    """Return the schema of `_content` for a call with one of these subcommands."""
    properties: dict[str, dict[str, Any]] = {
        "exit_code": {"type": "integer", "description": "0 only if all work was done"},
        RESULT: {"description": "the result, as --json prints it"},
        SUMMARY: {"type": "object", "description": "figures, instead of a large result"},
        "saved": {"type": "array", "items": {"type": "string"}, "description": "saved files"},
        "error": {"type": "string", "description": "what failed, or ended the work early"},
    }
    for name in (RESULT, SUMMARY):
        models = [skill.output_of(one, summary=name == SUMMARY) for one in subcommands]
        properties[name] |= _schema_of(dict.fromkeys(models), f"#/properties/{name}")
    return {"type": "object", "properties": properties, "required": ["exit_code"]}


def _schema_of(models: Collection[type[BaseModel] | None], place: str) -> dict[str, Any]:
    """Return the schema of one of several models; None is a result without a fixed form.

    Args:
        place: the reference to it in the whole schema, with which its own references begin.
    """
    if len(models) == 1:
        [model] = models
        template = f"{place}/$defs/{{model}}"
        if model is None:
            return {}
        return model.model_json_schema(ref_template=template, mode="serialization")
    return {
        "anyOf": [_schema_of([one], f"{place}/anyOf/{number}") for number, one in enumerate(models)]
    }


def answer(skill: Skill, subcommand: str, outcome: Outcome) -> types.CallToolResult:
    """Return the result of a call.

    Raises:
        SkillFailed: the result is not JSON, or does not match `Skill.output`.
    """
    content = _content(skill, subcommand, outcome)
    links = [_link(path) for path in outcome.saved]
    return _result(content, is_error=outcome.result.code != 0, links=links)


def refusal(error: HarnessError) -> types.CallToolResult:
    """Return the result of a call that raised `error`."""
    content = {"exit_code": error.exit_code or 1, "error": str(error)}
    return _result(content, is_error=True)


def _content(skill: Skill, subcommand: str, outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    kind = RESULT if result.summary is None else SUMMARY
    data = json.loads(result.as_json())
    model = skill.output_of(subcommand, summary=kind == SUMMARY)
    if model is not None:
        try:
            model.model_validate(data)
        except ValidationError as exc:
            what = "output" if kind == RESULT else "output_summary"
            raise SkillFailed(
                f"/{skill.name} has a {kind} that is not its `{what}`: {exc}"
            ) from exc
    content: dict[str, Any] = {"exit_code": result.code, kind: data}
    if outcome.saved:
        content["saved"] = [str(path) for path in outcome.saved]
    if result.stopped is not None:
        content["error"] = str(result.stopped)
    return content


def _result(
    content: Mapping[str, Any], *, is_error: bool, links: list[types.ResourceLink] | None = None
) -> types.CallToolResult:
    text = tool_result.compact(tool_result.shortened(dict(content), TEXT))
    return types.CallToolResult(
        content=[types.TextContent(text=text), *(links or ())],
        structured_content=dict(content),
        is_error=is_error,
    )


def _link(path: Path) -> types.ResourceLink:
    real = path.resolve()
    kind, _ = mimetypes.guess_type(real.name)
    return types.ResourceLink(
        name=real.name, uri=real.as_uri(), mime_type=kind, size=real.stat().st_size
    )
