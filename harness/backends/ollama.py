"""Models served by Ollama, through its Python client."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, cast

from harness.backends.base import Availability, Message, OnText, Reply, Request, Token
from harness.backends.remote import (
    CONNECT_SECONDS,
    PROBE_SECONDS,
    Plug,
    Recent,
    broken_off,
    connection_lost,
    refusal,
)
from harness.backends.watch import Watch
from harness.backends.worker import Emit, relay
from harness.entries import ServeEntry
from harness.errors import HarnessError, ModelUnavailable

if TYPE_CHECKING:
    import ollama

DEFAULT_HOST = "http://127.0.0.1:11434"
TOP_LOGPROBS = 20
"""The server refuses to tell more alternatives of a token."""
MID_STREAM = -1
"""The client's status for an error line inside an answer that had begun with 200."""
_START = "Start it with `ollama serve`; OLLAMA_HOST names another address."


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
        return OllamaModel(entry, _host(entry), self._digest(entry), slots)

    def _digest(self, entry: ServeEntry) -> str:
        host = _host(entry)
        pulled = self._pulled.get(host, lambda: _list(host))
        name = _full_name(str(entry.model))
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
    """

    takes_grammar = False

    def __init__(self, entry: ServeEntry, host: str, digest: str, slots: int = 1) -> None:
        self._name = str(entry.model)
        self.context = entry.context
        self.slots = slots
        self._host = host
        self._server = f"Ollama at {host}"
        self.digests: Mapping[str, str] = {"ollama": digest} if digest else {}

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

        def take(part: Any) -> None:
            watch.add(part.message.content or "")
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
        )

    def close(self) -> None:
        """Nothing to free: the server keeps its models as it sees fit."""

    def _stream(self, watch: Watch, plug: Plug, emit: Emit[Any]) -> None:
        import httpx
        import ollama

        began = False
        try:
            with (
                _client(self._host, watch.remaining + 1, plug) as client,
                contextlib.closing(self._chat(client, watch.request)) as parts,
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
                self._server, plug=plug, began=began, timed_out=timed_out, start=_START
            ) from exc
        except ValueError as exc:
            raise broken_off(self._server, "a line of it is no valid JSON message") from exc

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


def _message(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def _host(entry: ServeEntry) -> str:
    return entry.url or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def _full_name(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _client(host: str, seconds: float, plug: Plug) -> ollama.Client:
    """A client whose reads last `seconds` at most.

    Raises:
        ModelUnavailable: `host` is no address. The client reads OLLAMA_HOST when it is imported.
    """
    import httpx

    try:
        import ollama

        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        return ollama.Client(host=host, timeout=timeout, event_hooks=plug.hooks)
    except (ValueError, httpx.InvalidURL) as exc:
        raise ModelUnavailable(
            f"{host!r} is not the address of an Ollama server",
            hint=f"Correct OLLAMA_HOST or the registry; the usual one is {DEFAULT_HOST}.",
        ) from exc


def _list(host: str) -> Mapping[str, str]:
    """The digests of what is pulled at `host`, by full name.

    Raises:
        ModelUnavailable: no Ollama answers there.
    """
    import httpx

    with _client(host, PROBE_SECONDS, Plug()) as client:
        import ollama

        try:
            models = client.list().models
        except (ConnectionError, httpx.ConnectTimeout) as exc:
            raise ModelUnavailable(f"no Ollama server at {host}", hint=_START) from exc
        except httpx.TimeoutException as exc:
            raise ModelUnavailable(
                f"the Ollama server at {host} does not answer", hint="Restart it."
            ) from exc
        except ollama.ResponseError as exc:
            raise ModelUnavailable(
                f"{host} answers {exc.status_code}", hint="Is that Ollama's address?"
            ) from exc
        except (httpx.HTTPError, ValueError) as exc:
            raise ModelUnavailable(
                f"what answers at {host} is not Ollama", hint="OLLAMA_HOST names its address."
            ) from exc
    return {_full_name(model.model): model.digest or "" for model in models if model.model}
