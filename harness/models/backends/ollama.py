"""Models served by Ollama, through its Python client."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from harness.errors import HarnessError, ModelUnavailable
from harness.models.backends.base import (
    Availability,
    Message,
    OnText,
    Reply,
    Request,
    Token,
    ToolCall,
)
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
from harness.models.backends.remote import (
    ConnectionHandle,
    TTLCache,
    connection_error,
    status_error,
    stream_error,
)
from harness.models.backends.stream_worker import Emit, relay

if TYPE_CHECKING:
    import ollama

    from harness.models.schema import ServeEntry

TOP_LOGPROBS = 20
"""The server's limit of alternatives for a token."""
REFUSES_TOOLS = 400
"""The status for a model without support for tools, among other errors."""
MID_STREAM = -1
"""The client's status for an error line inside an answer that began with 200."""


class OllamaBackend:
    """Ollama at an entry's `url`, else at OLLAMA_HOST, else at the default port of this machine."""

    name = "ollama"

    def __init__(self) -> None:
        self._models: TTLCache[Mapping[str, str]] = TTLCache()

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

    The server is asked once whether the model supports tools. If it is too old to report this, a
    request is sent with them, and without them if it is refused.
    """

    takes_grammar = False

    def __init__(self, entry: ServeEntry, host: str, digest: str, slots: int = 1) -> None:
        self._name = str(entry.model)
        self.context = entry.context
        self.slots = slots
        self._host = host
        self._server = f"Ollama at {host}"
        self.digests: Mapping[str, str] = {"ollama": digest} if digest else {}
        self.tools_refused = ""
        self._takes_tools: bool | None = None

    @property
    def takes_tools(self) -> bool:
        if self._takes_tools is None:
            found = capabilities(self._host, self._name)
            self._takes_tools = found is None or "tools" in found
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
        state, handle = GenerationState(request, cancel, on_text), ConnectionHandle()
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
            raise stream_error(self._server, "the stream ended without its last line", state.text)
        # A count of 0 is omitted from the message.
        return state.reply(
            "length" if last[0].done_reason == "length" else "stop",
            last[0].prompt_eval_count or 0,
            last[0].eval_count or 0,
            tool_calls=tuple(calls),
        )

    def close(self) -> None:
        """Do nothing: the server manages its models."""

    def _stream(self, state: GenerationState, handle: ConnectionHandle, emit: Emit[Any]) -> None:
        import httpx
        import ollama

        began = False
        try:
            with (
                open_client(self._host, state.remaining + 1, handle) as client,
                contextlib.closing(self._begin(client, state.request)) as parts,
            ):
                for part in parts:
                    began = True
                    if emit(part):
                        return
        except ollama.ResponseError as exc:
            raise self._error(exc) from exc
        except httpx.HTTPError as exc:
            timed_out = isinstance(exc, httpx.TimeoutException)
            raise connection_error(
                self._server, handle=handle, began=began, timed_out=timed_out, start=START
            ) from exc
        except ValueError as exc:
            raise stream_error(self._server, "a line of it is not a valid JSON message") from exc

    def _begin(self, client: ollama.Client, request: Request) -> Generator[Any, None, None]:
        """Yield the parts of an answer, without tools if the server refuses them.

        A refusal was due to the tools if the same request succeeds without them.
        """
        import ollama

        began, refused = False, ""
        if request.tools and self.takes_tools:
            try:
                for part in self._chat(client, request):
                    began = True
                    yield part
                return
            except ollama.ResponseError as exc:
                if began or exc.status_code != REFUSES_TOOLS:
                    raise
                refused = exc.error
        for part in self._chat(client, replace(request, tools=())):
            if refused:
                self._takes_tools, self.tools_refused, refused = False, refused, ""
            yield part

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
            tools=[as_tool(tool) for tool in request.tools],
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
            return stream_error(self._server, exc.error)
        if exc.status_code == 404:
            return ModelUnavailable(
                f"{self._server} has no model {self._name!r}: {exc.error}",
                hint=f"`ollama pull {self._name}` downloads it.",
            )
        return status_error(exc.status_code, exc.error, self._server)


def _message(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.sendable)}}
            for call in message.tool_calls
        ]
    if message.answers is not None:
        body["tool_name"] = message.answers.name
    return body
