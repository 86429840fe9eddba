"""Models served by Ollama, through its Python client."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, cast

from harness.errors import HarnessError, ModelUnavailable
from harness.models.backends import base, remote
from harness.models.backends.base import Availability, OnText, Reply, Request, Token, ToolCall
from harness.models.backends.generation import GenerationState
from harness.models.backends.ollama_server import (
    START,
    capabilities,
    full_name,
    host_of,
    list_models,
    open_client,
)
from harness.models.backends.openai_tools import as_tool
from harness.models.backends.stream_worker import Emit, relay

if TYPE_CHECKING:
    import ollama

    from harness.models.schema import ServeEntry

TOP_LOGPROBS = 20
"""The server's limit of alternatives for a token."""
MID_STREAM = -1
"""The client's status for an error line inside an answer that began with 200."""


class OllamaBackend:
    """Ollama at an entry's `url`, else at OLLAMA_HOST, else at the default port of this machine."""

    name = "ollama"

    def __init__(self) -> None:
        self._models: remote.TTLCache[Mapping[str, str]] = remote.TTLCache()

    def probe(self, entry: ServeEntry) -> Availability:
        try:
            self._digest(entry)
        except ModelUnavailable as exc:
            return Availability(False, exc.message)
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> OllamaModel:
        slots = slots or entry.slots or 1
        return OllamaModel(entry, host_of(entry), self._digest(entry), slots)

    def _digest(self, entry: ServeEntry) -> str:
        host = host_of(entry)
        models = self._models.get(host, lambda: list_models(host))
        name = full_name(str(entry.model))
        if name not in models:
            raise ModelUnavailable(
                f"Ollama has no {entry.model}", hint="`ollama list` shows its models."
            )
        return models[name]


class OllamaModel:
    """One model of an Ollama server. Grammars are not supported: Ollama's `format` is JSON only.

    `context` is sent as num_ctx; the server allocates it for each generation and silently truncates
    a longer prompt. The stop texts of a request replace those of the model. A final message of the
    assistant is continued and not repeated. Servers before 0.12.11 report no logprobs.

    The server is asked once whether the model supports tools; one that is too old to report this
    (before 0.6.4) gets none.
    """

    takes_grammar = False

    def __init__(self, entry: ServeEntry, host: str, digest: str, slots: int = 1) -> None:
        self._name = str(entry.model)
        self.context = entry.context
        self.slots = slots
        self._host = host
        self._server = f"Ollama at {host}"
        self.place = f"{entry.model} at {remote.shown_address(host)}"
        self.digests: Mapping[str, str] = {"ollama": digest} if digest else {}
        self._takes_tools: bool | None = None

    @property
    def takes_tools(self) -> bool:
        if self._takes_tools is None:
            self._takes_tools = "tools" in capabilities(self._host, self._name)
        return self._takes_tools

    def count_tokens(self, request: Request) -> None:
        """Return None: the protocol has no endpoint for it."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate; see `base.Model.generate`. `request.grammar` is ignored."""
        state, handle = GenerationState(request, cancel, on_text), remote.ConnectionHandle()
        last: list[Any] = []
        calls: list[ToolCall] = []

        def take(part: Any) -> None:
            state.add(part.message.content or "")
            calls.extend(
                ToolCall(call.function.name, json.dumps(dict(call.function.arguments)))
                for call in part.message.tool_calls or ()
            )
            for token in part.logprobs or ():
                state.add_token(
                    Token(token.token, token.logprob),
                    ((other.token, other.logprob) for other in token.top_logprobs or ()),
                )
            if part.done:
                last.append(part)

        relay(lambda emit: self._stream(state, handle, emit), take, state, handle.close)
        if not last:
            raise remote.stream_error(self._server, "the stream ended too early", state.text)
        # A count of 0 is omitted from the message.
        return state.reply(
            "length" if last[0].done_reason == "length" else "stop",
            last[0].prompt_eval_count or 0,
            last[0].eval_count or 0,
            tool_calls=tuple(calls),
        )

    def close(self) -> None:
        """Do nothing: the server manages its models."""

    def _stream(
        self, state: GenerationState, handle: remote.ConnectionHandle, emit: Emit[Any]
    ) -> None:
        import httpx
        import ollama

        began = False
        try:
            with (
                open_client(self._host, state.remaining + 1, handle) as client,
                contextlib.closing(self._chat(client, state.request)) as parts,
            ):
                for part in parts:
                    began = True
                    if emit(part):
                        return
        except ollama.ResponseError as exc:
            raise self._error(exc) from exc
        except httpx.HTTPError as exc:
            timed_out = isinstance(exc, httpx.TimeoutException)
            raise remote.connection_error(
                self._server, handle=handle, began=began, timed_out=timed_out, start=START
            ) from exc
        except ValueError as exc:
            raise remote.stream_error(self._server, "a line is not a valid message") from exc

    def _chat(self, client: ollama.Client, request: Request) -> Generator[Any, None, None]:
        options: dict[str, Any] = {
            "num_ctx": self.context,
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if request.stop:
            options["stop"] = list(request.stop)
        alternatives = min(request.top_logprobs, TOP_LOGPROBS)
        if alternatives and not request.temperature:
            # Some versions report only tokens that sampling keeps; the greedy choice is the same.
            options |= {"top_k": 0, "top_p": 1.0}
        stream = client.chat(
            model=self._name,
            messages=[_message(message) for message in request.conversation],
            tools=[as_tool(tool) for tool in request.tools if self.takes_tools],
            stream=True,
            think=False,
            format=None if request.json_schema is None else dict(request.json_schema),
            options=options,
            logprobs=True if alternatives else None,
            top_logprobs=alternatives or None,
        )
        return cast("Generator[Any, None, None]", stream)

    def _error(self, exc: ollama.ResponseError) -> HarnessError:
        if exc.status_code == MID_STREAM:
            return remote.stream_error(self._server, exc.error)
        if exc.status_code == 404:
            return ModelUnavailable(
                f"{self._server} has no model {self._name!r}: {exc.error}",
                hint=f"`ollama pull {self._name}` downloads it.",
            )
        return remote.status_error(exc.status_code, exc.error, self._server)


def _message(message: base.Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.sendable)}}
            for call in message.tool_calls
        ]
    if message.answers is not None:
        body["tool_name"] = message.answers.name
    return body
