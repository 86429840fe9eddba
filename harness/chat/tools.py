"""The protocol of what a model may call in a chat, and the choice of what a request offers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from harness.models.backends.base import Tool, ToolCall
from harness.terminal.console import Screen

BARE, DETAILS, OPTIONS, ALL = range(4)
"""Levels of detail of a tool's description: required parts alone; with its details; with optional
parameters but not their descriptions; everything. A tool may be the same at several levels."""
MOST = 128
"""Tools of a request; servers refuse more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a tool call.

    Attributes:
        content: the message for the model, a JSON object.
        tool: the tool that was called; "" if there is none of that name.
        line: the line shown for the call; "" if its arguments are invalid.
        code: exit code.
    """

    content: str
    tool: str
    line: str
    code: int


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call whose arguments are valid.

    Attributes:
        line: what is shown and recorded.
        run: does the work, with a row in the run log in any case, and returns the message for the
            model and the exit code.
    """

    line: str
    run: Callable[[Screen], tuple[str, int]]


class Described(Protocol):
    """A tool that can be offered at several levels of detail.

    Attributes:
        name: unique among the tools that are offered.
    """

    @property
    def name(self) -> str: ...

    def described(self, level: int) -> Tool:
        """Return the name, description and parameters at a level of detail."""


class ChatTool(Described, Protocol):
    """A tool that a model may call."""

    def prepared(self, call: ToolCall) -> PreparedCall:
        """Return a call of this tool with its arguments checked.

        Raises:
            UsageError: they are invalid.
        """


def offered(tools: Iterable[Described], room: int) -> tuple[Tool, ...]:
    """Return the tools of a request within `MOST` and a size in bytes.

    Every tool is added at the lowest level of detail first, in order; then each level is added to
    one tool after the other while there is room. Tools without any room are left out.
    """
    candidates = [*tools][:MOST]
    chosen: dict[str, Tool] = {}
    for level in (BARE, DETAILS, OPTIONS, ALL):
        for tool in candidates:
            if level > BARE and tool.name not in chosen:
                continue
            described = tool.described(level)
            needed = size(described) - (size(chosen[tool.name]) if tool.name in chosen else 0)
            if needed <= room:
                chosen[tool.name], room = described, room - needed
    return tuple(chosen.values())


def size(tool: Tool) -> int:
    """Return the approximate size of a tool in a request, in bytes."""
    text = f"{tool.name}{tool.description}{json.dumps(dict(tool.parameters))}"
    return len(text.encode()) + 60
