"""Run models of servers with OpenAI's protocol: vLLM, llama-server, LM Studio, OpenAI."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, InputError, ModelUnavailable
from harness.models.backend import (
    Availability,
    FinishReason,
    Message,
    OnText,
    Reply,
    Request,
    Token,
    ToolCall,
)
from harness.models.backends import remote
from harness.models.backends.generation import Emit, GenerationState, relay, token_text
from harness.redaction import remember
from harness.support.bounded_http import UNREADABLE, error_text
from harness.support.calls import TTLCache

if TYPE_CHECKING:
    import openai

    from harness.models.registry import ServeEntry

DEFAULT_URL = "https://api.openai.com/v1"
NO_KEY = "none"
"""The key that is sent if the user has set no key, since the client requires a key."""
NO_QUOTA = "insufficient_quota"
START = "Start the server, or correct its url in the registry (or OPENAI_BASE_URL)."


NAME = "Correct the model's name in the registry."
URL = f"Check that the url ends in /v1, as for most servers. {NAME}"
TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
"""Error codes and types of OpenAI and llama-server for a prompt that is too long."""
MAY_REFUSE_LOGPROBS = frozenset({400, 403, 422})
MAY_REFUSE_TOOLS = frozenset({400, 404, 422, 500, 501})
TOP_LOGPROBS = 20
"""The maximum number of alternatives for a token at OpenAI, and by default at vLLM."""
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}
"""Fields that vLLM requires to continue a message. OpenAI refuses unknown fields."""
EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
CONTINUING = frozenset({"vllm", "sglang"})
"""Values of `owned_by` in the model lists of servers that accept the fields of `CONTINUE`."""


class OpenAIServer:
    """The server of an entry, with its address and key.

    The address is the entry's `url`, or else OPENAI_BASE_URL, or else `DEFAULT_URL`.
    """

    def __init__(self, entry: ServeEntry) -> None:
        self.url = entry.url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        self.shown = remote.shown_address(self.url)
        self.allowed = entry.allow_redirects_to
        self.key_env = entry.api_key_env or "OPENAI_API_KEY"
        self.key = remember(os.environ.get(self.key_env) or NO_KEY)

    def client(self, seconds: float, handle: remote.ConnectionHandle) -> openai.OpenAI:
        """Return a client without retries and with a read timeout; set `handle.server`."""
        import openai

        handle.server = self.shown

        timeout = openai.Timeout(seconds, connect=min(seconds, remote.CONNECT_SECONDS))
        return openai.OpenAI(
            base_url=self.url,
            api_key=self.key,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultHttpxClient(
                event_hooks=handle.hooks, trust_env=not remote.is_local(self.url)
            ),
        )

    def models(self) -> Mapping[str, str] | None:
        """Return the owner of each model by model id; None if the server does not list its models.

        The owner is "" if the server does not name an owner. The result is also None if the server
        has accepted the connection, but does not send the whole list in time.

        Raises:
            ModelUnavailable: the server does not answer, refuses the request (for example because
                of the key), or does not use OpenAI's protocol.
        """
        import openai

        handle, seconds = remote.ConnectionHandle(allowed=self.allowed), remote.PROBE_SECONDS
        limited = handle.limited(seconds * remote.PROBE_LIMIT)
        with limited, self.client(seconds, handle) as client:
            try:
                # The client's objects would need ten times the memory of this JSON.
                listed = client.models.with_raw_response.list().http_response.json()["data"]
                return {str(one["id"]): str(one.get("owned_by") or "") for one in listed}
            except openai.NotFoundError:
                return None
            except openai.APIConnectionError as exc:
                if isinstance(exc.__cause__, HarnessError):
                    raise ModelUnavailable(exc.__cause__.message, hint=START) from exc
                late = isinstance(exc, openai.APITimeoutError) or handle.overdue
                if late and handle.connected:
                    return None
                raise ModelUnavailable(f"no server answers at {self.shown}", hint=START) from exc
            except openai.APIStatusError as exc:
                error = self.error(exc)
                hint = error.hint if isinstance(error, ModelUnavailable) else START
                raise ModelUnavailable(error.message, hint=hint) from exc
            except (openai.APIError, *UNREADABLE) as exc:
                raise ModelUnavailable(
                    f"the server at {self.shown} does not use OpenAI's protocol", hint=START
                ) from exc

    def error(self, exc: openai.APIStatusError) -> HarnessError:
        """Return the error to raise for a response with an HTTP status of 400 or more."""
        if exc.status_code in (401, 403):
            unset = " (not set)" if self.key == NO_KEY else ""
            return ModelUnavailable(
                f"{self.shown} refuses the key of {self.key_env}{unset}",
                hint=f"Set the environment variable {self.key_env} to the server's key.",
            )
        if NO_QUOTA in codes(exc):  # a status 429 for which waiting does not help
            return ModelUnavailable(
                f"{self.shown} refuses the key of {self.key_env}: {server_message(exc)}",
                hint="Check the plan and the limits of the key's account.",
            )
        after = exc.response.headers.get("retry-after")
        return remote.status_error(exc.status_code, server_message(exc), self.shown, after)


def server_message(exc: openai.APIStatusError) -> str:
    """Return the message in the server's response, without the text that the client adds."""
    return error_text(exc.message if exc.body is None else exc.body)


def codes(exc: openai.APIStatusError) -> Set[str]:
    """Return the code and the type of an error as texts, since a server may send any JSON."""
    return {str(exc.code), str(exc.type)}


def as_message(message: Message) -> dict[str, Any]:
    """Return the JSON form of a message in OpenAI's protocol."""
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


class AnswerReader:
    """Reads the chunks of an answer, and collects its tool calls, finish reason and token counts.

    The client does not check the types in a chunk. A piece of a tool call belongs to the call with
    the same `index`. Some servers send the same index, or no index, for all calls; they send each
    call with a different id, so that a new id begins a new call.

    Attributes:
        model: the name of the model that answers, or "" if the server does not send the name.
        finish: the finish_reason; "" before the end.
        counts: the numbers of prompt tokens, completion tokens and cached prompt tokens; 0 if the
            server does not report a number.
    """

    def __init__(self, state: GenerationState) -> None:
        self._state = state
        self._calls: list[dict[str, str]] = []
        self._call_by_index: dict[Any, dict[str, str]] = {}
        self.model = self.finish = ""
        self.counts = (0, 0, 0)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """All tool calls, in the order in which they began."""
        return tuple(ToolCall(**call) for call in self._calls)

    def read(self, chunk: Any) -> list[str]:
        """Read a chunk, add its tokens to the reply, and return the pieces of text in the chunk.

        Text, tool calls and reasoning count as progress (see `GenerationState.received`).

        Raises:
            One of the errors in `UNREADABLE`: the chunk violates the protocol.
        """
        texts = []
        self.model = str(chunk.model or "") or self.model
        for choice in chunk.choices or ():
            for token in (choice.logprobs and choice.logprobs.content) or ():
                self._state.add_token(Token(*_pair(token)), map(_pair, token.top_logprobs or ()))
            self.finish = str(choice.finish_reason or self.finish)
            if delta := choice.delta:
                for piece in delta.tool_calls or ():
                    self._add_call(piece)
                texts.append("" + (delta.content or ""))
                more = delta.tool_calls or any((delta.model_extra or {}).values())
                self._state.received(progress=bool(delta.content or more))
        if (used := chunk.usage) is not None:
            cached = used.prompt_tokens_details and used.prompt_tokens_details.cached_tokens
            numbers = used.prompt_tokens or 0, used.completion_tokens or 0, cached or 0
            self.counts = int(numbers[0]), int(numbers[1]), int(numbers[2])
        return texts

    def _add_call(self, piece: Any) -> None:
        call = self._call_by_index.get(piece.index)
        if call is None or (piece.id and call["id"] and piece.id != call["id"]):
            call = self._call_by_index[piece.index] = {"name": "", "arguments": "", "id": ""}
            self._calls.append(call)
        call["id"] = call["id"] or piece.id or ""
        if piece.function is not None:
            call["name"] = call["name"] or piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""


class OpenAIBackend:
    """The backend for a server at the entry's `url`, or else OPENAI_BASE_URL, or else OpenAI.

    The key is read from the environment variable that the entry's `api_key_env` names, by default
    OPENAI_API_KEY.
    """

    name = "openai"

    def __init__(self) -> None:
        self._models: TTLCache[Mapping[str, str] | None] = TTLCache()

    def probe(self, entry: ServeEntry) -> Availability:
        try:
            owner = self._owner(OpenAIServer(entry), str(entry.model))
        except ModelUnavailable as exc:
            return Availability(False, exc.message)
        return Availability(True, "" if owner is not None else "its models are not listed")

    def load(self, entry: ServeEntry, slots: int | None = 1) -> OpenAIModel:
        server = OpenAIServer(entry)
        owner = self._owner(server, str(entry.model))
        return OpenAIModel(entry, server, slots or entry.slots or 1, owner)

    def _owner(self, server: OpenAIServer, model: str) -> str | None:
        """Return the owner of the model.

        The owner is "" if the server does not name the owner, and None if the server does not list
        its models.

        Raises:
            NotServed: the server lists its models, without this model.
            ModelUnavailable: raised by `OpenAIServer.models`.
        """
        models = self._models.get((server.url, server.key), server.models)
        if models is None:
            return None
        if model not in models:
            names = ", ".join(sorted(models)[:5]) or "none"
            raise remote.NotServed(
                f"no model {model!r} at {server.shown}, which has {names}", hint=NAME
            )
        return models[model]


class OpenAIModel(remote.RemoteModel):
    """A model of a server. `digests` is empty, since the protocol does not report files.

    `context` is known only if the registry entry contains it. A schema is sent as a strict
    `response_format`; the protocol has no field for `Request.grammar`.

    A prefill is sent as a final message of the assistant. llama-server continues this message. vLLM
    and SGLang continue it if the request has the additional fields of `CONTINUE`. OpenAI begins a
    new answer. If an answer repeats the prefill, the repetition is removed. If a server refuses
    logprobs or tools, the request is sent again without them, since the protocol does not report in
    advance whether a model supports them.

    Args:
        owner: the owner of the model in the server's list of models; None if the server does not
            list its models.
    """

    def __init__(
        self, entry: ServeEntry, server: OpenAIServer, slots: int, owner: str | None
    ) -> None:
        self._name = str(entry.model)
        self.context = entry.context if "context" in entry.model_fields_set else None
        self.slots = slots
        self._server = server
        self.place = f"{entry.model} at {server.shown}"
        self._owner = owner
        self._served = ""  # the model that the first answer names
        self._continues = owner in CONTINUING
        self.takes_tools = True
        self.tools_refused = ""
        self.digests: Mapping[str, str] = {}

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate a reply (see `backend.Model.generate`), ignoring `request.grammar`."""
        repeated = "" if self._continues else request.prefill
        state = GenerationState(request, cancel, on_text, repeated)
        size, ends = remote.answer_bytes(request.max_tokens), EVENT_ENDS
        handle = remote.ConnectionHandle(allowed=self._server.allowed, size=size, ends=ends)
        answer = AnswerReader(state)

        def take(chunk: Any) -> None:
            try:
                texts = answer.read(chunk)
            except UNREADABLE as exc:
                reason = "a part of it violates the protocol"
                raise remote.stream_error(self._server.shown, reason, state.text) from exc
            for text in texts:
                state.add(text)

        relay(lambda emit: self._stream(state, handle, emit), take, state, handle.close)
        self._served = self._served or answer.model
        if answer.model and answer.model != self._served:
            server = self._server.shown
            raise remote.changed_error(server, self._name, self._served, answer.model)
        reason = answer.finish
        if reason not in ("stop", "length", "tool_calls"):
            how = f"with finish_reason {reason!r}" if reason else "without a finish_reason"
            raise remote.stream_error(self._server.shown, f"the stream ended {how}", state.text)
        ended: FinishReason = "length" if reason == "length" else "stop"
        prompt, completion, cached = answer.counts
        return state.reply(ended, prompt, completion, cached, tool_calls=answer.calls)

    def _stream(
        self, state: GenerationState, handle: remote.ConnectionHandle, emit: Emit[Any]
    ) -> None:
        import openai

        began = False
        try:
            with (
                self._server.client(state.remaining + 1, handle) as client,
                self._begin(client, state.request) as chunks,
            ):
                for chunk in chunks:
                    began = True
                    if emit(chunk):
                        return
        except openai.APIConnectionError as exc:
            if isinstance(exc.__cause__, HarnessError):  # raised by a hook of the handle
                raise exc.__cause__ from exc
            timed_out = isinstance(exc, openai.APITimeoutError) and not state.remaining
            raise remote.connection_error(
                self._server.shown, handle, START, began=began, timed_out=timed_out
            ) from exc
        except openai.APIStatusError as exc:
            raise self._error(exc) from exc
        except openai.APIError as exc:
            raise remote.stream_error(self._server.shown, exc.body or exc.message) from exc
        except UNREADABLE as exc:
            raise remote.stream_error(self._server.shown, "a line of it is not valid JSON") from exc

    def _begin(self, client: openai.OpenAI, request: Request) -> Any:
        """Request an answer, and return its chunks; a refused request is repeated without tools.

        Servers refuse tools with different statuses and messages. Therefore a refusal counts as a
        refusal of tools if the same request succeeds without tools.
        """
        import openai

        if not (request.tools and self.takes_tools):
            return self._create(client, request)
        body = self._body(request) | {"tools": [remote.as_tool(tool) for tool in request.tools]}
        try:
            return client.chat.completions.create(**body)
        except openai.APIStatusError as exc:
            if exc.status_code not in MAY_REFUSE_TOOLS or TOO_LONG & codes(exc):
                raise
            if request.without_tools is not None:
                request = replace(request, messages=request.without_tools())
            chunks = self._create(client, request)
            self.takes_tools, self.tools_refused = False, server_message(exc)
            return chunks

    def _create(self, client: openai.OpenAI, request: Request) -> Any:
        """Request an answer without tools, and return its chunks.

        If the server refuses logprobs, the request is repeated without logprobs.
        """
        import openai

        body = self._body(request)
        if request.top_logprobs:
            alternatives = min(request.top_logprobs, TOP_LOGPROBS)
            try:
                return client.chat.completions.create(
                    **body, logprobs=True, top_logprobs=alternatives
                )
            except openai.APIStatusError as exc:
                if exc.status_code not in MAY_REFUSE_LOGPROBS:
                    raise
        return client.chat.completions.create(**body)

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._name,
            "messages": [as_message(message) for message in request.conversation],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if request.json_schema is not None:
            schema = {"name": "reply", "strict": True, "schema": dict(request.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.prefill and self._continues:
            body["extra_body"] = CONTINUE
        return body

    def _error(self, exc: openai.APIStatusError) -> HarnessError:
        if TOO_LONG & codes(exc):
            return InputError(
                f"the prompt does not fit the context of {self._name}: {server_message(exc)}",
                hint="Shorten the input, or start the server with a larger context.",
            )
        if exc.status_code == 404:
            return ModelUnavailable(
                f"no model {self._name!r} at {self._server.shown}: {server_message(exc)}",
                hint=NAME if self._owner is not None else URL,
            )
        return self._server.error(exc)


def _pair(token: Any) -> tuple[str, float]:
    return token_text(token.token, token.bytes), float(token.logprob)
