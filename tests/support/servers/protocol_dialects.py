"""The form of streamed answers: that of Ollama, and that of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.models.backend import Reply, ToolCall

PIECE = 7
"""Length of a piece of a call's arguments, in characters."""


class OllamaDialect:
    """NDJSON: one object per line, the last one with `done` and the counts."""

    kind = "application/x-ndjson"
    garbage = b'{"model": "x", "mess\n'

    def __init__(self, name: str, repeated: str = "") -> None:
        self._head = {"model": name, "created_at": "2026-11-24T10:00:00.000000Z"}
        self._repeated = repeated

    def piece(self, text: str, logprobs: list[dict[str, Any]] | None = None) -> bytes:
        message = {"role": "assistant", "content": self._repeated + text}
        self._repeated = ""
        more = {} if logprobs is None else {"logprobs": logprobs}
        return _line({**self._head, "message": message, "done": False, **more})

    def calls(self, calls: Sequence[ToolCall], splits: str) -> Iterator[bytes]:
        for place, call in enumerate(calls):
            function = {"index": 0, "name": call.name, "arguments": json.loads(call.arguments)}
            called = {"id": f"call_{place:08d}", "function": function}
            message = {"role": "assistant", "content": "", "tool_calls": [called]}
            yield _line({**self._head, "message": message, "done": False})

    def end(self, reply: Reply) -> list[bytes]:
        last: dict[str, Any] = {
            **self._head,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": reply.finish_reason,
            "total_duration": int(reply.seconds * 1e9),
            "prompt_eval_count": reply.prompt_tokens,
            "eval_count": reply.completion_tokens,
        }
        return [_line({key: value for key, value in last.items() if value != 0})]

    def error(self, message: str) -> bytes:
        return _line({"error": message})


class OpenAIDialect:
    """Server-sent events: chunks, then one with the usage if requested, then [DONE]."""

    kind = "text/event-stream"
    garbage = b'data: {"id": "x", "cho\n\n'

    def __init__(self, name: str, usage: bool) -> None:
        self._head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        self._head["model"] = name
        self._usage = usage

    def piece(
        self,
        text: str,
        finish_reason: str | None = None,
        logprobs: list[dict[str, Any]] | None = None,
    ) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
        choice["logprobs"] = None if logprobs is None else {"content": logprobs, "refusal": None}
        return _event({**self._head, "choices": [choice]})

    def calls(self, calls: Sequence[ToolCall], splits: str) -> Iterator[bytes]:
        """Yield the name and id of each call, then its arguments in pieces."""
        for place, call in enumerate(calls):
            index = place if splits == "index" else 0
            known = {"id": f"call-{place}"}
            for start in range(-PIECE, len(call.arguments), PIECE):
                function = {"arguments": call.arguments[start : start + PIECE]}
                if start < 0:
                    function = {"name": call.name, "arguments": ""}
                more = known if start < 0 or splits == "ids" else {}
                piece = {"index": index, **more, "type": "function", "function": function}
                choice = {"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}
                yield _event({**self._head, "choices": [choice]})

    def end(self, reply: Reply) -> list[bytes]:
        events = [self.piece("", "tool_calls" if reply.tool_calls else reply.finish_reason)]
        if self._usage:
            usage = {
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
                "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            }
            events.append(_event({**self._head, "choices": [], "usage": usage}))
        return [*events, b"data: [DONE]\n\n"]

    def error(self, message: str) -> bytes:
        return _event({"error": {"message": message, "type": "server_error", "code": 500}})


def token_of(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _line(data: Any) -> bytes:
    return json.dumps(data).encode() + b"\n"


def _event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
