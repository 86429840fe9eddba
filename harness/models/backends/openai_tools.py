"""Tools and tool calls in OpenAI's protocol: complete in a request, in pieces in a stream."""

from __future__ import annotations

import json
from typing import Any

from harness.models.backends.base import Message, Tool, ToolCall


def as_tool(tool: Tool) -> dict[str, Any]:
    """Return the JSON form of a tool, which Ollama's protocol shares."""
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": dict(tool.parameters)}}


def as_message(message: Message) -> dict[str, Any]:
    """Return the JSON form of a message."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.sendable)},
            }
            for call in message.tool_calls
        ]
    if message.answers is not None:
        body["tool_call_id"] = message.answers.id
    return body


class CallCollector:
    """Assembles the tool calls of a stream.

    A piece belongs to the call of its `index`. Servers that give all calls the same index, or none,
    send each with its own id; a new id then begins a new call.
    """

    def __init__(self) -> None:
        self._calls: list[dict[str, str]] = []
        self._by_index: dict[Any, dict[str, str]] = {}

    def add(self, delta: Any) -> None:
        """Add one of the `tool_calls` of a chunk's delta."""
        call = self._by_index.get(delta.index)
        if call is None or (delta.id and call["id"] and delta.id != call["id"]):
            call = self._by_index[delta.index] = {"name": "", "arguments": "", "id": ""}
            self._calls.append(call)
        call["id"] = call["id"] or delta.id or ""
        if delta.function is not None:
            call["name"] = call["name"] or delta.function.name or ""
            call["arguments"] += delta.function.arguments or ""

    def calls(self) -> tuple[ToolCall, ...]:
        """Return all calls, in the order in which they began."""
        return tuple(ToolCall(**call) for call in self._calls)
