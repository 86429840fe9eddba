"""Read requests as Ollama and OpenAI servers do, and refuse what they refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.models.backend import Message, Tool

OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "num_ctx": (int,),
    "num_predict": (int,),
    "seed": (int,),
    "top_k": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "stop": (list,),
}
TYPE_NAMES = {(int,): "integer", (int, float): "float32", (list,): "array"}


class ProtocolError(Exception):
    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.more = status, message, more


def chatml(messages: Sequence[Message], *, closes: bool) -> str:
    """Return a prompt, in which a final message of the assistant stays open or is closed."""
    turns = [f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages]
    if messages[-1].role == "assistant" and not closes:
        turns[-1] = turns[-1].removesuffix("<|im_end|>\n")
        return "".join(turns)
    return "".join(turns) + "<|im_start|>assistant\n"


def messages_of(messages: Any) -> tuple[Message, ...]:
    return tuple(
        Message(message.get("role", ""), message.get("content", "")) for message in messages
    )


def tools_of(body: Any) -> tuple[Tool, ...]:
    functions = [tool["function"] for tool in body.get("tools") or ()]
    return tuple(Tool(f["name"], f["description"], f["parameters"]) for f in functions)


def _check_messages(messages: Any) -> None:
    roles = ("system", "user", "assistant", "tool")
    fits = isinstance(messages, list) and all(
        isinstance(m, dict) and m.get("role") in roles and ("content" in m or m.get("tool_calls"))
        for m in messages
    )
    if not fits or not messages:
        raise ProtocolError(400, "invalid messages")


def _check_calls(messages: Any) -> None:
    """Refuse a call without a result and a result without a call, as OpenAI does."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise ProtocolError(400, "a 'tool' message must follow a message with 'tool_calls'")
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            raise ProtocolError(400, f"no result for the tool_call_ids {waiting}")
        for call in message.get("tool_calls") or ():
            json.loads(call["function"]["arguments"])  # vLLM fails on invalid JSON
            waiting.append(call["id"])
    if len(set(waiting)) != len(waiting) or "" in waiting or waiting:
        raise ProtocolError(400, f"no result for the tool_call_ids {waiting}")


def check_ollama(body: dict[str, Any]) -> None:
    """Refuse what Ollama refuses; unknown options, and unknown roles, are not."""
    if not all(isinstance(message, dict) for message in body["messages"]):
        raise ProtocolError(400, "invalid messages")
    for name, value in (body.get("options") or {}).items():
        types = OPTION_TYPES.get(name)
        if types and (not isinstance(value, types) or isinstance(value, bool)):
            raise ProtocolError(500, f'option "{name}" must be of type {TYPE_NAMES[types]}')
        if name == "stop" and not all(isinstance(text, str) for text in value):
            raise ProtocolError(500, 'option "stop" must be of an array of strings')
    schema = body.get("format")
    if not (schema is None or schema in ("", "json") or isinstance(schema, dict)):
        given = json.dumps(json.dumps(schema))
        expected = 'expected "json" or a valid JSON Schema object'
        raise ProtocolError(500, f"invalid format: {given}; {expected}")
    _check_logprobs(body)
    if body.get("think") not in (None, False):
        raise ProtocolError(400, f'"{body["model"]}" does not support thinking')
    if body.get("stream") is False and not body.get("_debug_render_only"):
        raise ProtocolError(400, "this test server only streams")


def check_openai(body: dict[str, Any]) -> None:
    """Refuse what OpenAI refuses."""
    _check_messages(body.get("messages"))
    _check_calls(body["messages"])
    if body.get("tools") == []:
        raise ProtocolError(400, "[] is too short - 'tools'")
    if body.get("stream") is not True:
        raise ProtocolError(400, "this test server only streams")
    if not isinstance(body.get("stop"), (type(None), str, list)) or body.get("stop") == []:
        raise ProtocolError(400, "'stop' must be a string or a list of 1 to 4 strings")
    if not isinstance(body.get("temperature", 1.0), (int, float)):
        raise ProtocolError(400, "'temperature' must be a number")
    _check_logprobs(body)
    if "top_logprobs" in body and not body.get("logprobs"):
        raise ProtocolError(400, "'top_logprobs' requires 'logprobs' to be true")
    response_format = body.get("response_format")
    if response_format is not None:
        named = response_format.get("json_schema") or {}
        if response_format.get("type") != "json_schema" or not named.get("name"):
            raise ProtocolError(400, "Missing required parameter: 'response_format.json_schema'")
        if named.get("strict") and named["schema"].get("additionalProperties") is not False:
            raise ProtocolError(400, "'additionalProperties' is required to be false")


def _check_logprobs(body: Mapping[str, Any]) -> None:
    top = body.get("top_logprobs", 0)
    if not isinstance(body.get("logprobs", False), bool) or not isinstance(top, int):
        raise ProtocolError(400, "invalid logprobs")
    if not 0 <= top <= 20:
        raise ProtocolError(400, "top_logprobs must be between 0 and 20")


def check_make(body: dict[str, Any], owner: str) -> None:
    """Refuse a prefill as vLLM does, and the fields of vLLM as other servers do."""
    fields = ("continue_final_message", "add_generation_prompt")
    if owner != "vllm":
        for name in fields:
            if name in body:
                raise ProtocolError(400, f"Unrecognized request argument supplied: {name}")
    elif body.get("add_generation_prompt", True):
        if body["messages"][-1]["role"] == "assistant":
            message = "Cannot set `add_generation_prompt` to True when the last message is from"
            raise ProtocolError(400, f"{message} the assistant.")
        if body.get("continue_final_message"):
            raise ProtocolError(400, "Cannot set both `continue_final_message` and the other")
