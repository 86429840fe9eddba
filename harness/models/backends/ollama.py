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
from harness.models.backends.generation import Watch
from harness.models.backends.ollama_server import (
    START,
    capabilities,
    client_of,
    full_name,
    host_of,
    list_models,
)
from harness.models.backends.openai_tools import as_tool
from harness.models.backends.remote import Plug, Recent, broken_off, connection_lost, refusal
from harness.models.backends.stream_worker import Emit, relay
from harness.models.schema import ServeEntry

if TYPE_CHECKING:
    import ollama

TOP_LOGPROBS = 20
"""The server refuses to tell more alternatives of a token."""
REFUSES_TOOLS = 400
"""The server's status where a model's template has no place for tools, among other things."""
MID_STREAM = -1
"""The client's status for an error line inside an answer that had begun with 200."""


class OllamaBackend:
    """Ollama at an entry's `url`, else at OLLAMA_HOST, else on its own port of this machine."""

    name = "ollama"

    def __init__(self) -> None:
        self._pulled: Recent[Mapping[str, str]] = Recent()

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
        pulled = self._pulled.get(host, lambda: list_models(host))
        name = full_name(str(entry.model))
        if name not in pulled:
            raise ModelUnavailable(
                f"Ollama has no {entry.model}", hint="`ollama list` shows what it has."
            )
        return pulled[name]


class OllamaModel:
    """One model of an Ollama server. It has no `Request.grammar`: its `format` is JSON alone.

    `context` is what is sent as num_ctx: the server gives it to each generation, and cuts a longer
    prompt without a word. A model's own stop texts hold as long as a request has none; those of a
    request replace them. A last message of the assistant is gone on from and not repeated. Servers
    before 0.12.11 do not know logprobs and tell none.

    Whether the model takes tools is asked once; a server too old to say is asked for an answer with
    them, and without where it refuses.
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
            told = capabilities(self._host, self._name)
            self._takes_tools = told is None or "tools" in told
        return self._takes_tools

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
        last: list[Any] = []
        calls: list[ToolCall] = []

        def take(part: Any) -> None:
            watch.add(part.message.content or "")
            calls.extend(
                ToolCall(call.function.name, json.dumps(dict(call.function.arguments)))
                for call in part.message.tool_calls or ()
            )
            for token in part.logprobs or ():
                watch.tell(
                    Token(token.token, token.logprob),
                    ((other.token, other.logprob) for other in token.top_logprobs or ()),
                )
            if part.done:
                last.append(part)

        relay(lambda emit: self._stream(watch, plug, emit), take, watch, plug.pull)
        if not last:
            failure = broken_off(self._server, "the stream ended without its last line")
            failure.partial = watch.text
            raise failure
        # A count of 0 is left out on the wire.
        return watch.reply(
            "length" if last[0].done_reason == "length" else "stop",
            last[0].prompt_eval_count or 0,
            last[0].eval_count or 0,
            tool_calls=tuple(calls),
        )

    def close(self) -> None:
        """Nothing to free: the server keeps its models as it sees fit."""

    def _stream(self, watch: Watch, plug: Plug, emit: Emit[Any]) -> None:
        import httpx
        import ollama

        began = False
        try:
            with (
                client_of(self._host, watch.remaining + 1, plug) as client,
                contextlib.closing(self._begin(client, watch.request)) as parts,
            ):
                for part in parts:
                    began = True
                    if emit(part):
                        return
        except ollama.ResponseError as exc:
            raise self._refused(exc) from exc
        except httpx.HTTPError as exc:
            timed_out = isinstance(exc, httpx.TimeoutException)
            raise connection_lost(
                self._server, plug=plug, began=began, timed_out=timed_out, start=START
            ) from exc
        except ValueError as exc:
            raise broken_off(self._server, "a line of it is no valid JSON message") from exc

    def _begin(self, client: ollama.Client, request: Request) -> Generator[Any, None, None]:
        """The parts of an answer, without the tools where the server refuses them.

        That it was the tools shows when the same request goes through without.
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
            # Some versions tell what sampling leaves over; the greedy choice stays the same.
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

    def _refused(self, exc: ollama.ResponseError) -> HarnessError:
        if exc.status_code == MID_STREAM:
            return broken_off(self._server, exc.error)
        if exc.status_code == 404:
            return ModelUnavailable(
                f"{self._server} has no model {self._name!r}: {exc.error}",
                hint=f"`ollama pull {self._name}` fetches it.",
            )
        return refusal(exc.status_code, exc.error, self._server)


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.sendable)}}
            for call in message.tool_calls
        ]
    if message.answers is not None:
        written["tool_name"] = message.answers.name
    return written
