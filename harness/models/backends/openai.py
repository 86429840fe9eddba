"""Models of any server that speaks OpenAI's protocol: vLLM, llama-server, LM Studio, OpenAI."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, InputError, ModelUnavailable
from harness.models.backends.base import Availability, FinishReason, OnText, Reply, Request, Token
from harness.models.backends.generation import Watch, token_text
from harness.models.backends.openai_server import START, OpenAIServer, Silent, said
from harness.models.backends.openai_tools import CallPieces, as_message, as_tool
from harness.models.backends.remote import (
    PROBE_SECONDS,
    Plug,
    Recent,
    Unrepeated,
    broken_off,
    connection_lost,
)
from harness.models.backends.stream_worker import Emit, relay
from harness.models.schema import ServeEntry

if TYPE_CHECKING:
    import openai

NAME = "Correct the model's name in the registry."
URL = f"Does the url end in /v1, as that of most servers does? {NAME}"
LIST_SECONDS = 10.0
"""A server far away may take longer to list its models than a probe may."""
TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
"""How OpenAI and llama-server name, in an error's code or type, a prompt that does not fit."""
MAY_REFUSE_TOOLS = frozenset({400, 404, 422, 500, 501})
TOP_LOGPROBS = 20
"""OpenAI, and vLLM as it is started by default, refuse to tell more alternatives of a token."""
CONTINUES = {"continue_final_message": True, "add_generation_prompt": False}
"""Without them vLLM refuses a last message of the assistant; OpenAI refuses fields like these."""
CONTINUING = frozenset({"vllm", "sglang"})
"""Servers that take them, as they name themselves in the `owned_by` of their models."""


class OpenAIBackend:
    """A server at an entry's `url`, else at OPENAI_BASE_URL, else OpenAI's own.

    The key comes from the environment variable that `api_key_env` names, else OPENAI_API_KEY.
    """

    name = "openai"

    def __init__(self) -> None:
        self._listed: Recent[Mapping[str, str] | None] = Recent()

    def probe(self, entry: ServeEntry) -> Availability:
        try:
            self._check(OpenAIServer(entry), str(entry.model))
        except Silent:
            return Availability(True, "slow to list its models")
        except ModelUnavailable as exc:
            return Availability(False, exc.message)
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> OpenAIModel:
        server = OpenAIServer(entry)
        owner = self._check(server, str(entry.model), patient=True)
        return OpenAIModel(entry, server, slots or entry.slots or 1, owner)

    def _check(self, server: OpenAIServer, model: str, *, patient: bool = False) -> str | None:
        """Who owns the model, "" where the server does not tell; None where it lists no models.

        Args:
            patient: a server that is silent is asked once more, and given more time.
        """
        try:
            listed = self._listed.get(
                (server.url, server.key), lambda: server.models(PROBE_SECONDS)
            )
        except Silent:
            if not patient:
                raise
            listed = server.models(LIST_SECONDS)
        if listed is not None and model not in listed:
            has = ", ".join(sorted(listed)[:5]) or "none"
            raise ModelUnavailable(
                f"no model {model!r} at {server.url}, which has {has}",
                hint=NAME,
            )
        return listed[model] if listed is not None else None


class OpenAIModel:
    """One model of a server. `digests` is empty: the protocol does not tell what is served.

    `context` is known only where the registry entry sets it: the protocol does not tell the
    server's own. A schema is sent as a strict `response_format`; `Request.grammar` has no place in
    the protocol.

    A prefill is a last message of the assistant. llama-server goes on from it, and vLLM and SGLang
    do where they are asked in their own way, which happens where a model is `owned_by` them. OpenAI
    answers anew, as if that message were finished; others may refuse it. An answer that repeats the
    prefill has it taken off. A server that refuses to tell logprobs is asked again without, and so
    is one that refuses tools: the protocol does not tell beforehand whether a model takes them.

    Args:
        owner: who owns the model, as the server lists it; None where it lists no models.
    """

    takes_grammar = False

    def __init__(
        self, entry: ServeEntry, server: OpenAIServer, slots: int = 1, owner: str | None = ""
    ) -> None:
        self._name = str(entry.model)
        self.context = entry.context if "context" in entry.model_fields_set else None
        self.slots = slots
        self._server = server
        self._owner = owner
        self._continues = owner in CONTINUING
        self.takes_tools = True
        self.tools_refused = ""
        self.digests: Mapping[str, str] = {}

    def count_tokens(self, request: Request) -> None:
        """None: the protocol has no question for it."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate as `base.Model.generate` says; `request.grammar` is ignored."""
        watch, plug = Watch(request, cancel, on_text), Plug()
        finish: list[str] = []
        usage: list[Any] = []
        calls = CallPieces()
        answer = Unrepeated("" if self._continues else request.prefill)

        def take(chunk: Any) -> None:
            for choice in chunk.choices or ():
                watch.add(answer.take((choice.delta and choice.delta.content) or ""))
                _tell(watch, choice)
                for piece in (choice.delta and choice.delta.tool_calls) or ():
                    calls.take(piece)
                if choice.finish_reason:
                    finish.append(choice.finish_reason)
            if chunk.usage:
                usage.append(chunk.usage)

        relay(lambda emit: self._stream(watch, plug, emit), take, watch, plug.pull)
        watch.add(answer.rest())
        reason = finish[-1] if finish else None
        if reason not in ("stop", "length", "tool_calls"):
            how = f"with finish_reason {reason!r}" if reason else "without a finish_reason"
            failure = broken_off(self._server.url, f"the stream ended {how}")
            failure.partial = watch.text
            raise failure
        ended: FinishReason = "length" if reason == "length" else "stop"
        return watch.reply(ended, *_counts(usage), tool_calls=calls.calls())

    def close(self) -> None:
        """Nothing to free: the model is the server's."""

    def _stream(self, watch: Watch, plug: Plug, emit: Emit[Any]) -> None:
        import openai

        began = False
        try:
            with (
                self._server.client(watch.remaining + 1, plug) as client,
                self._begin(client, watch.request) as chunks,
            ):
                for chunk in chunks:
                    began = True
                    if emit(chunk):
                        return
        except openai.APIConnectionError as exc:
            timed_out = isinstance(exc, openai.APITimeoutError)
            raise connection_lost(
                self._server.url, plug=plug, began=began, timed_out=timed_out, start=START
            ) from exc
        except openai.APIStatusError as exc:
            raise self._refused(exc) from exc
        except openai.APIError as exc:
            raise broken_off(self._server.url, exc.message) from exc
        except ValueError as exc:
            raise broken_off(self._server.url, "a line of it is no valid JSON") from exc

    def _begin(self, client: openai.OpenAI, request: Request) -> Any:
        """The chunks of an answer, without the tools where the server refuses them.

        It refuses in many words, and with 400, 404, 422 or 500. That it was the tools shows when
        the same request goes through without.
        """
        import openai

        if not (request.tools and self.takes_tools):
            return self._told(client, request)
        body = self._body(request) | {"tools": [as_tool(tool) for tool in request.tools]}
        try:
            return client.chat.completions.create(**body)
        except openai.APIStatusError as exc:
            if exc.status_code not in MAY_REFUSE_TOOLS or TOO_LONG & {exc.code, exc.type}:
                raise
            chunks = self._told(client, request)
            self.takes_tools, self.tools_refused = False, said(exc)
            return chunks

    def _told(self, client: openai.OpenAI, request: Request) -> Any:
        """The chunks of an answer, without logprobs where the server refuses to tell them.

        Servers refuse in many words and with several statuses. That it was the logprobs shows when
        the same request goes through without.
        """
        import openai

        body = self._body(request)
        alternatives = min(request.top_logprobs, TOP_LOGPROBS)
        if alternatives:
            try:
                return client.chat.completions.create(
                    **body, logprobs=True, top_logprobs=alternatives
                )
            except (
                openai.BadRequestError,
                openai.PermissionDeniedError,
                openai.UnprocessableEntityError,
            ):
                pass
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
            body["extra_body"] = CONTINUES
        return body

    def _refused(self, exc: openai.APIStatusError) -> HarnessError:
        if TOO_LONG & {exc.code, exc.type}:
            return InputError(
                f"the prompt does not fit the context of {self._name}: {said(exc)}",
                hint="Shorten the input, or start the server with a larger context.",
            )
        if exc.status_code == 404:
            return ModelUnavailable(
                f"no model {self._name!r} at {self._server.url}: {said(exc)}",
                hint=NAME if self._owner is not None else URL,
            )
        return self._server.refused(exc)


def _tell(watch: Watch, choice: Any) -> None:
    for token in (choice.logprobs and choice.logprobs.content) or ():
        watch.tell(Token(*_told(token)), map(_told, token.top_logprobs or ()))


def _told(token: Any) -> tuple[str, float]:
    return token_text(token.token, token.bytes), token.logprob


def _counts(usage: list[Any]) -> tuple[int, int, int]:
    """Prompt, completion and cached tokens; 0 where the server does not count."""
    if not usage:
        return 0, 0, 0
    last = usage[-1]
    cached = last.prompt_tokens_details.cached_tokens if last.prompt_tokens_details else 0
    return last.prompt_tokens or 0, last.completion_tokens or 0, cached or 0
