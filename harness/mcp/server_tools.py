"""Describe skills as MCP tools, and return outcomes as results of calls.

A skill becomes a tool. If some of its subcommands only read, they become a second tool, NAME_read,
which a client may allow without asking the user.
"""

from __future__ import annotations

import itertools
import json
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcp import types
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from harness.api.skill import Impact, Skill
from harness.chat import tool_calls
from harness.chat.skill_tools import SAVE_TO, SUBCOMMAND, invocation_of, tool_of
from harness.chat.toolbox import ALL
from harness.errors import HarnessError, SkillFailed, UsageError
from harness.models.backend import Tool, ToolCall
from harness.runs.frontend import Outcome
from harness.runs.invocation import Invocation

READING = "_read"
"""The end of the name of a tool that only reads; no skill has a name with an underscore."""
RESULT, SUMMARY = "result", "summary"
LONGEST = 20_000
"""Maximum number of characters of a result as text, for models; the structured result is
complete.
"""
HELP = "harness://help/"
"""Prefix of the URI of a tool's complete description."""
CONTENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "exit_code": {"type": "integer"},
        RESULT: {},
        SUMMARY: {"type": "object"},
        "saved": {"type": "array", "items": {"type": "string"}},
        "error": {"type": "string"},
    },
    "required": ["exit_code"],
}
"""The schema of the result of a call of any skill, as described in the server's instructions."""


@dataclass(frozen=True, slots=True)
class SkillTool:
    """The tool of a skill, or of its subcommands that only read."""

    skill: Skill
    reading: bool = False

    @property
    def name(self) -> str:
        return self.skill.name + READING * self.reading

    @property
    def only_reads(self) -> bool:
        """True if calls never make changes, not even to a file."""
        return self._impacts == {"reads"} and (self.reading or not self.skill.saves)

    @property
    def _subcommands(self) -> Sequence[str]:
        """The subcommands that a call may have; "" stands for a call without subcommand."""
        if self.reading:
            return reading_subcommands(self.skill)
        return "", *self.skill.subcommands

    @property
    def _impacts(self) -> set[Impact]:
        return {self.skill.impact_of(name) for name in self._subcommands}

    def described(self, level: int) -> Tool:
        """Return the name, description and parameters at a level of detail."""
        only = self._subcommands if self.reading else ()
        return replace(tool_of(self.skill, level, only), name=self.name)

    def listed(self, tool: Tool) -> types.Tool:
        """Return a described tool in the form of `tools/list`."""
        more = f"{HELP}{self.name} describes all options and the result."
        return self._as_mcp(replace(tool, description=f"{tool.description}\n{more}"), CONTENT)

    def complete(self) -> types.Tool:
        """Return the tool with the descriptions of all options and the schema of its result."""
        return self._as_mcp(self.described(ALL), _output_schema(self.skill, self._subcommands))

    def _as_mcp(self, tool: Tool, output: dict[str, Any]) -> types.Tool:
        return types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=dict(tool.parameters),
            output_schema=output,
            annotations=types.ToolAnnotations(
                read_only_hint=self.only_reads,
                destructive_hint=None if self.only_reads else "changes" in self._impacts,
            ),
        )

    def invocation(self, arguments: Mapping[str, Any]) -> Invocation:
        """Return the invocation that a call requests.

        Raises:
            UsageError: the arguments are invalid, or the call would do more than read.
        """
        call = ToolCall(self.name, json.dumps(arguments))
        invocation = invocation_of(self.skill, call)
        known = self._subcommands
        if self.reading and (invocation.subcommand not in known or invocation.targets):
            raise UsageError(
                f"{self.name} only reads: {SUBCOMMAND} is one of {', '.join(known)}, and there is "
                f"no {SAVE_TO}",
                hint=f"The tool {self.skill.name} has all subcommands of /{self.skill.name}.",
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
    """Return `CONTENT` with the schemas of the result and of the summary by subcommand."""
    by_kind: dict[str, dict[type[BaseModel] | None, list[str]]] = {RESULT: {}, SUMMARY: {}}
    for kind, name in itertools.product(by_kind, subcommands):
        model = skill.output_of(name, summary=kind == SUMMARY)
        by_kind[kind].setdefault(model, []).append(name)
    models = dict.fromkeys(model for forms in by_kind.values() for model in forms if model)
    references, shared = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/$defs/{model}"
    )
    properties = dict(CONTENT["properties"])
    for kind, forms in by_kind.items():
        properties[kind] = {
            "anyOf": [
                {"description": ", ".join(filter(None, names))}
                | (references[model, "serialization"] if model else {})
                for model, names in forms.items()
            ]
        }
    return {**CONTENT, "properties": properties, "$defs": shared.get("$defs", {})}


def answer(skill: Skill, subcommand: str, outcome: Outcome) -> types.CallToolResult:
    """Return the result of a call.

    Raises:
        SkillFailed: the result is not JSON, or does not match `Skill.output`.
    """
    kind = RESULT if outcome.result.summary is None else SUMMARY
    data = json.loads(outcome.result.as_json())
    model = skill.output_of(subcommand, summary=kind == SUMMARY)
    if model is not None:
        try:
            model.model_validate(data)
        except ValidationError as exc:
            what = "output" if kind == RESULT else "output_summary"
            raise SkillFailed(
                f"/{skill.name} returned a {kind} that does not match its `{what}`: {exc}"
            ) from exc
    links = []
    for path in outcome.saved:
        real = path.resolve()
        media, _ = mimetypes.guess_type(real.name)
        size = real.stat().st_size
        links.append(
            types.ResourceLink(name=real.name, uri=real.as_uri(), mime_type=media, size=size)
        )
    content = tool_calls.content_of(outcome, **{kind: data})
    return _result(content, is_error=outcome.result.code != 0, links=links)


def refusal(error: HarnessError) -> types.CallToolResult:
    """Return the result of a call that raised `error`."""
    content = {"exit_code": error.exit_code or 1, "error": str(error)}
    return _result(content, is_error=True)


def _result(
    content: dict[str, Any], *, is_error: bool, links: Sequence[types.ResourceLink] = ()
) -> types.CallToolResult:
    text = tool_calls.compact(tool_calls.shortened(content, LONGEST))
    return types.CallToolResult(
        content=[types.TextContent(text=text), *links],
        structured_content=content,
        is_error=is_error,
    )
