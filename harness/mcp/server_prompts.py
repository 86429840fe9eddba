"""Prompt skills as MCP prompts: their instructions, and the text that the user adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from harness.agent_skills import resources
from harness.agent_skills.prompt_skill import PromptSkill
from harness.errors import HarnessError
from harness.mcp.server_calls import Calls

TEXT = "text"


class Prompts:
    """The prompt skills among those that are served."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def _skills(self) -> Iterator[PromptSkill]:
        for found in self._calls.skills.values():
            if isinstance(found.imported, PromptSkill):
                yield found.imported

    async def list_prompts(
        self, ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=skill.name,
                    description=skill.summary,
                    arguments=[
                        types.PromptArgument(name=TEXT, description=skill.usage, required=False)
                    ],
                )
                for skill in self._skills()
            ]
        )

    async def get_prompt(
        self, ctx: ServerRequestContext[Any], params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        skill = next((skill for skill in self._skills() if skill.name == params.name), None)
        if skill is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name[:160]}")
        try:
            text = _instructions(skill, (params.arguments or {}).get(TEXT, "").strip())
        except HarnessError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from error
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=skill.summary, messages=[message])


def _instructions(skill: PromptSkill, text: str) -> str:
    """Return the instructions, followed by the text unless a placeholder takes it.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    body = skill.body(text)
    instructions = skill.instructions(body, resources.names(skill.file.folder))
    return instructions if body != skill.body("") else f"{instructions}\n\n{text}".rstrip()
