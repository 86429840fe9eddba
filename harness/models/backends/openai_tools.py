"""Tools and their calls in OpenAI's protocol: whole in a request, in pieces in a stream."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from harness.models.backends.base import Message, Tool, ToolCall


def as_tool(tool: Tool) -> dict[str, Any]:
    """A tool as it is sent; Ollama's protocol writes it in the same way."""
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": dict(tool.parameters)}}


def as_message(message: Message) -> dict[str, Any]:
    """A message as it is sent."""
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.sendable)},
            }
            for call in message.tool_calls
        ]
    if message.answers is not None:
        written["tool_call_id"] = message.answers.id
    return written


@dataclass(slots=True)
class _Pieces:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class CallPieces:
    """Puts the calls of a stream together.

    A piece belongs to the call of its `index`. Servers that give all calls the same index, or none,
    send each with an id of its own; a new id then begins a new call.
    """

    _calls: list[_Pieces] = field(default_factory=list)
    _by_index: dict[Any, _Pieces] = field(default_factory=dict)

    def take(self, delta: Any) -> None:
        """Take one of the `tool_calls` of a chunk's delta."""
        call = self._by_index.get(delta.index)
        if call is None or (delta.id and call.id and delta.id != call.id):
            call = self._by_index[delta.index] = _Pieces()
            self._calls.append(call)
        call.id = call.id or delta.id or ""
        if delta.function is not None:
            call.name = call.name or delta.function.name or ""
            call.arguments.append(delta.function.arguments or "")

    def calls(self) -> tuple[ToolCall, ...]:
        """All calls, in the order in which they began."""
        return tuple(ToolCall(c.name, "".join(c.arguments), c.id) for c in self._calls)
