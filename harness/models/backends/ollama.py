"""Models served by Ollama, through its Python client."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError, InputError, ModelUnavailable, SkillFailed
from harness.models.backend import Availability, Message, OnText, Reply, Request, Token, ToolCall
from harness.models.backends import ollama_server, remote
from harness.models.backends.generation import Emit, GenerationState, relay
from harness.support import bounded_http
from harness.support.calls import TTLCache

if TYPE_CHECKING:
    import ollama

    from harness.models.registry import ServeEntry
    from harness.models.weights import FileStore

BEGINNING = "The answer begins with these seven words"
"""A prefill that has more than one token in every vocabulary."""
PrefillKind = Literal["continued", "repeated", "ignored"]
TOP_LOGPROBS = 20
"""Ollama's maximum number of alternatives for a token."""
_TOO_LONG = re.compile("exceeds? the (available )?context|exceed_context_size|prompt too long")
_INVALID = re.compile('option ".*" must be of |invalid format: ')
_MOST_BYTES = 16
"""Upper bound of the mean number of bytes per token of a text."""


class OllamaBackend:
    """The backend for Ollama at the entry's `url`, or else OLLAMA_HOST or `DEFAULT_HOST`.

    If an entry has a `digest` or files, a model that has neither this digest nor these files is
    refused.

    Args:
        files: the files of the registry; None to ignore the files of entries.
    """

    name = "ollama"

    def __init__(self, files: FileStore | None = None) -> None:
        self._files = files
        self._models: TTLCache[Mapping[str, str]] = TTLCache()
        self._made_of: dict[tuple[str, str], Collection[str]] = {}
        self._prefills: dict[tuple[str, str], PrefillKind] = {}

    def probe(self, entry: ServeEntry) -> Availability:
        try:
            self._digest(entry)
        except ModelUnavailable as exc:
            absent = isinstance(exc, ollama_server.Absent) and not (entry.url or entry.digest)
            return Availability(False, exc.message, absent)
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> OllamaModel:
        return OllamaModel(entry, self._digest(entry), slots or entry.slots or 1, self._prefills)

    def _digest(self, entry: ServeEntry) -> str:
        host = ollama_server.host_of(entry.url)
        allowed = entry.allow_redirects_to
        models = self._models.get(host, lambda: ollama_server.list_models(host, allowed))
        digest = models.get(ollama_server.full_name(str(entry.model)))
        if digest is None:
            hint = "`ollama list` lists the models of the server."
            raise ollama_server.NoModel(f"Ollama has no {entry.model}", hint=hint)
        self._check_identity(entry, host, digest)
        return digest

    def _check_identity(self, entry: ServeEntry, host: str, digest: str) -> None:
        """Raise NotServed if the server's model is not the model that the entry describes."""
        expected = [{entry.digest}] if entry.digest else []
        if self._files is not None and entry.gguf:
            expected += self._files.identities(entry.gguf, entry.adapter)
        if not expected or {digest} in expected:
            return
        made_of = self._made_of.get((host, digest)) or ollama_server.files_of(
            host, str(entry.model), entry.allow_redirects_to
        )
        self._made_of[host, digest] = made_of
        if not any(files <= set(made_of) for files in expected):
            differs = "is another model" if made_of else "does not state its files"
            wanted = [" + ".join(sorted(one[:8] for one in files)) for files in expected]
            raise remote.NotServed(
                f"{entry.model} at {remote.shown_address(host)} {differs}: digest {digest[:8]}, "
                f"expected {' or '.join(wanted)}; `--model ollama/{entry.model}` uses this model"
            )


class OllamaModel(remote.RemoteModel):
    """A model of an Ollama server. Grammars are not supported, since `format` is only for JSON.

    `context` is sent as num_ctx; the server allocates a context of this size for each generation.
    Requests set `truncate` to False, so that the server does not cut a long prompt. The stop texts
    of a request replace the stop texts of the model. Servers before 0.12.11 do not report logprobs.

    The server continues a prefill ("continued"), continues the prefill and also repeats it in the
    answer ("repeated"), or ignores the prefill ("ignored"). The treatment depends on the model's
    template, and is measured once for each model.

    Args:
        digest: the digest of the model at the server, or "" if the server reports no digest.
        prefills: the measured treatments of prefills, by the server's address and the model's
            digest. The object adds the treatment that it measures.
    """

    def __init__(
        self,
        entry: ServeEntry,
        digest: str,
        slots: int,
        prefills: dict[tuple[str, str], PrefillKind],
    ) -> None:
        self._name = str(entry.model)
        self._host = ollama_server.host_of(entry.url)
        self._server = f"Ollama at {remote.shown_address(self._host)}"
        self._allowed = entry.allow_redirects_to
        self.context = entry.context
        self.slots = slots
        self.place = f"{entry.model} at {remote.shown_address(self._host)}"
        self.digests: Mapping[str, str] = {"ollama": digest} if digest else {}
        self._prefills = prefills
        self._key = self._host, digest or self._name
        self._probing = threading.Lock()

    @property
    def continues_prefill(self) -> bool:
        """True if `Request.prefill` is supported; the first access may send short requests."""
        return self._prefill_kind(None) != "ignored"

    @cached_property
    def takes_tools(self) -> bool:
        """True if the server reports that the model supports tools; False before version 0.6.4."""
        return "tools" in ollama_server.capabilities(self._host, self._name, self._allowed)

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate a reply (see `backend.Model.generate`), ignoring `request.grammar`."""
        kind: PrefillKind = self._prefill_kind(cancel) if request.prefill else "continued"
        if kind == "ignored":
            raise SkillFailed(
                f"{self._server} does not continue a prefilled answer of {self._name}",
                hint="The model's template closes the prefill. Send the request without `prefill`.",
            )
        repeated = request.prefill if kind == "repeated" else ""
        return self._generate(request, GenerationState(request, cancel, on_text, repeated))

    def _generate(self, request: Request, state: GenerationState) -> Reply:
        size = remote.answer_bytes(request.max_tokens)
        handle = remote.ConnectionHandle(allowed=self._allowed, size=size, ends=(b"\n",))
        last: list[Any] = []
        calls: list[ToolCall] = []

        def take(part: ollama.ChatResponse) -> None:
            message = part.message
            for token in part.logprobs or ():
                state.add_token(
                    Token(token.token, token.logprob),
                    ((other.token, other.logprob) for other in token.top_logprobs or ()),
                )
            calls.extend(
                ToolCall(call.function.name, json.dumps(dict(call.function.arguments)))
                for call in message.tool_calls or ()
            )
            state.received(progress=bool(message.content or message.thinking or message.tool_calls))
            state.add(message.content or "")
            if part.done:
                last.append(part)

        relay(lambda emit: self._stream(state, handle, emit), take, state, handle.close)
        if not last:  # the process that runs the model has crashed
            raise remote.stream_error(self._server, "the runner ended", state.text)
        state.drop_tokens(state.repeated)
        evaluated = last[0].prompt_eval_count or 0  # Ollama omits a count of 0
        self._refuse_cut(request, evaluated)
        return state.reply(
            "length" if last[0].done_reason == "length" else "stop",
            evaluated,
            last[0].eval_count or 0,
            tool_calls=tuple(calls),
        )

    def _stream(
        self, state: GenerationState, handle: remote.ConnectionHandle, emit: Emit[Any]
    ) -> None:
        import httpx
        import ollama

        body, began = self._body(state.request), False
        try:
            with (
                ollama_server.open_client(self._host, state.remaining + 1, handle) as client,
                # The client's method `chat` does not support `truncate`, and other methods cannot
                # read an error that is not a text.
                client._client.stream("POST", "/api/chat", json=body) as response,
            ):
                for line in response.iter_lines():
                    part, began = json.loads(line), True
                    if isinstance(part, dict) and part.get("error"):
                        raise remote.stream_error(self._server, part)
                    if emit(ollama.ChatResponse(**part)):
                        return
                response.close()  # frees the connection for the next request
                self._check_digest(client)
        except ollama.ResponseError as exc:
            raise self._error(exc, handle.retry_after) from exc
        except httpx.HTTPError as exc:
            timed_out = isinstance(exc, httpx.TimeoutException) and not state.remaining
            raise remote.connection_error(
                self._server, handle, ollama_server.START, began=began, timed_out=timed_out
            ) from exc
        except bounded_http.UNREADABLE as exc:
            raise remote.stream_error(self._server, "a line is not a valid message") from exc

    def _check_digest(self, client: ollama.Client) -> None:
        """Raise ModelChanged if the server now has another digest for the model's name."""
        import httpx
        import ollama

        found, before = None, self.digests.get("ollama")
        with contextlib.suppress(
            httpx.HTTPError, ollama.ResponseError, bounded_http.TooLong, *bounded_http.UNREADABLE
        ):
            found = ollama_server.listed(client).get(ollama_server.full_name(self._name))
        if found and before and found != before:
            raise remote.changed_error(self._server, self._name, before[:12], found[:12])

    def _prefill_kind(self, cancel: threading.Event | None) -> PrefillKind:
        with self._probing:
            if self._key not in self._prefills:
                self._prefills[self._key] = self._probe_prefill(cancel)
            return self._prefills[self._key]

    def _probe_prefill(self, cancel: threading.Event | None) -> PrefillKind:
        """Measure and return how the server treats a prefill.

        The first request limits the answer to one token. If the answer nevertheless begins with the
        whole prefill, which has several tokens, the server repeats prefills. The second request
        returns the rendered prompt. If the prompt ends with the prefill, the server continues
        prefills. In all other cases, the result is "ignored".
        """
        question = (Message("user", "Say one sentence."),)
        request = Request(question, max_tokens=1, prefill=BEGINNING)
        try:
            reply = self._generate(request, GenerationState(request, cancel))
            if reply.text.startswith(BEGINNING):
                return "repeated"
            body = self._body(request) | {"stream": False, "_debug_render_only": True}
            rendered = ollama_server.rendered_prompt(self._host, body, self._allowed)
        except SkillFailed:  # some models, such as reasoning models, refuse a prefill
            return "ignored"
        return "continued" if rendered.rstrip().endswith(BEGINNING) else "ignored"

    def _body(self, request: Request) -> dict[str, Any]:
        """Return the body of a request to /api/chat."""
        options: dict[str, Any] = {
            "num_ctx": self.context,
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if request.stop:
            options["stop"] = list(request.stop)
        body: dict[str, Any] = {
            "model": self._name,
            "messages": [_as_message(message) for message in request.conversation],
            "tools": [remote.as_tool(tool) for tool in request.tools if self.takes_tools],
            "stream": True,
            "think": False,
            "truncate": False,
            "shift": False,
            "options": options,
        }
        if request.json_schema is not None:
            body["format"] = dict(request.json_schema)
        if alternatives := min(request.top_logprobs, TOP_LOGPROBS):
            body |= {"logprobs": True, "top_logprobs": alternatives}
            if not request.temperature:
                # Some versions report only the alternatives that sampling keeps. These options keep
                # all alternatives, and do not change the greedy choice.
                options |= {"top_k": 0, "top_p": 1.0}
        return body

    def _refuse_cut(self, request: Request, evaluated: int) -> None:
        """Raise InputError if the server has cut the prompt.

        Servers without the option `truncate` cut a long prompt silently. After a cut, the evaluated
        tokens fill at least half of the context, but are too few for the size of the text.

        Args:
            evaluated: the number of prompt tokens that the server evaluated.
        """
        size = sum(len(message.content.encode()) for message in request.conversation)
        if self.context // 2 <= evaluated <= self.context and size > evaluated * _MOST_BYTES:
            raise InputError(
                f"the prompt has {size:,} bytes, of which Ollama evaluated {evaluated:,} tokens in "
                f"its context of {self.context:,}",
                hint="Shorten the input, or raise `context` of the model in the registry.",
            )

    def _error(self, exc: ollama.ResponseError, after: str | None = None) -> HarnessError:
        """Return the error for an answer with a status of 400 or more.

        Args:
            after: the value of the header Retry-After.
        """
        status, message = exc.status_code, bounded_http.error_text(exc.error)
        if status == 404:
            return ModelUnavailable(
                f"{self._server} has no model {self._name!r}: {message}",
                hint=f"`ollama pull {self._name}` downloads the model.",
            )
        if _TOO_LONG.search(message):
            return InputError(
                f"the prompt does not fit the context of {self._name}: {message}",
                hint="Shorten the input, or raise `context` of the model in the registry.",
            )
        # Ollama answers with status 500 both for an invalid option and for a model that cannot be
        # loaded; another model may help only in the second case.
        if _INVALID.search(message):
            status = 400
        return remote.status_error(status, message, self._server, after)


def _as_message(message: Message) -> dict[str, Any]:
    """Return the JSON form of a message in Ollama's protocol."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.sendable)}}
            for call in message.tool_calls
        ]
    if message.answers is not None:
        body["tool_name"] = message.answers.name
    return body
