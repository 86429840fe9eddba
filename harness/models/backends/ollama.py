"""Models served by Ollama, through its Python client."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError, ModelUnavailable, SkillFailed
from harness.models.backend import Availability, Message, OnText, Reply, Request, Token, ToolCall
from harness.models.backends import remote
from harness.models.backends.generation import Emit, GenerationState, relay
from harness.models.backends.ollama_server import (
    START,
    Absent,
    NoModel,
    capabilities,
    chat_body,
    files_of,
    full_name,
    host_of,
    list_models,
    open_client,
    plain,
    refusal,
    refuse_cut,
    rendered_prompt,
    stream_chat,
)
from harness.support.calls import TTLCache

if TYPE_CHECKING:
    import ollama

    from harness.models.registry import ServeEntry
    from harness.models.weights import FileStore

BEGINNING = "The answer begins with these seven words"
"""A prefill of more than one token in every vocabulary."""
PrefillKind = Literal["continued", "repeated", "ignored"]
MID_STREAM = -1
"""The client's status for an error line inside an answer that began with 200."""


class OllamaBackend:
    """Ollama at an entry's `url`, else at OLLAMA_HOST, else at the default port of this machine.

    An entry that states its `digest` or its files is not served by another model of that name.

    Args:
        files: the files that entries name; None for entries that name none.
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
            expected = bool(entry.url or entry.digest)
            return Availability(False, exc.message, isinstance(exc, Absent) and not expected)
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> OllamaModel:
        slots = slots or entry.slots or 1
        return OllamaModel(entry, host_of(entry), self._digest(entry), slots, self._prefills)

    def _digest(self, entry: ServeEntry) -> str:
        host = host_of(entry)
        models = self._models.get(host, lambda: list_models(host))
        name = full_name(str(entry.model))
        if name not in models:
            raise NoModel(f"Ollama has no {entry.model}", hint="`ollama list` shows its models.")
        self._check_identity(entry, host, models[name])
        return models[name]

    def _check_identity(self, entry: ServeEntry, host: str, digest: str) -> None:
        """Raise NotServed for a model that is not the one which the entry describes."""
        expected = [{entry.digest}] if entry.digest else []
        if self._files is not None and entry.gguf:
            expected += self._files.identities(entry.gguf, entry.adapter)
        if not expected or {digest} in expected:
            return
        made_of = self._made_of.get((host, digest)) or files_of(host, str(entry.model))
        self._made_of[host, digest] = made_of
        if not any(files <= set(made_of) for files in expected):
            differs = "is another model" if made_of else "does not state its files"
            wanted = [" + ".join(sorted(one[:8] for one in files)) for files in expected]
            raise remote.NotServed(
                f"{entry.model} at {remote.shown_address(host)} {differs}: digest {digest[:8]}, "
                f"expected {' or '.join(wanted)}; `--model ollama/{entry.model}` uses it"
            )


class OllamaModel:
    """One model of an Ollama server. Grammars are not supported: Ollama's `format` is JSON only.

    `context` is sent as num_ctx, which the server allocates for each generation, with the request
    not to cut a longer prompt. The stop texts of a request replace those of the model. Servers
    before 0.12.11 report no logprobs.

    A final message of the assistant is continued, continued and repeated in the answer, or ignored,
    depending on the template that the server uses. This is measured once for a model.

    Args:
        prefills: how models treat a prefill, by server and digest, as far as it is known.

    Whether the model supports tools is requested once; a server that is too old to report this
    (before 0.6.4) gets none.
    """

    takes_grammar = False

    def __init__(
        self,
        entry: ServeEntry,
        host: str,
        digest: str,
        slots: int = 1,
        prefills: dict[tuple[str, str], PrefillKind] | None = None,
    ) -> None:
        self._name = str(entry.model)
        self.context = entry.context
        self.slots = slots
        self._host = host
        self._server = f"Ollama at {host}"
        self.place = f"{entry.model} at {remote.shown_address(host)}"
        self.digests: Mapping[str, str] = {"ollama": digest} if digest else {}
        self._takes_tools: bool | None = None
        self._prefills = {} if prefills is None else prefills
        self._key = host, digest or str(entry.model)
        self._probing = threading.Lock()

    @property
    def continues_prefill(self) -> bool:
        """Whether `Request.prefill` is supported; the first use sends two short requests."""
        return self._prefill_kind(None) != "ignored"

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
        """Generate; see `backend.Model.generate`. `request.grammar` is ignored."""
        kind: PrefillKind = self._prefill_kind(cancel) if request.prefill else "continued"
        if kind == "ignored":
            raise SkillFailed(
                f"{self._server} does not continue a prefilled answer of {self._name}",
                hint="Its template closes the beginning. Send the request without `prefill`.",
            )
        return self._generate(request, on_text, cancel, repeats=kind == "repeated")

    def _generate(
        self,
        request: Request,
        on_text: OnText | None,
        cancel: threading.Event | None,
        *,
        repeats: bool = False,
    ) -> Reply:
        state, handle = GenerationState(request, cancel, on_text), remote.ConnectionHandle()
        last: list[Any] = []
        calls: list[ToolCall] = []
        answer = remote.PrefillStripper(request.prefill if repeats else "")

        def take(part: Any) -> None:
            state.add(answer.feed(part.message.content or ""))
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
        state.add(answer.flush())
        if not last:  # the process that runs the model has crashed
            raise remote.stream_error(self._server, "the runner ended", state.text)
        if repeats:
            state.drop_tokens(request.prefill)
        refuse_cut(request, last[0].prompt_eval_count or 0, self.context)
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
                contextlib.closing(stream_chat(client, self._body(state.request))) as parts,
            ):
                for part in parts:
                    began = True
                    if emit(part):
                        return
        except ollama.ResponseError as exc:
            raise self._error(exc) from exc
        except httpx.HTTPError as exc:
            timed_out = isinstance(exc, httpx.TimeoutException) and not state.remaining
            raise remote.connection_error(
                self._server, handle=handle, began=began, timed_out=timed_out, start=START
            ) from exc
        except ValueError as exc:
            raise remote.stream_error(self._server, "a line is not a valid message") from exc

    def _prefill_kind(self, cancel: threading.Event | None) -> PrefillKind:
        with self._probing:
            if self._key not in self._prefills:
                self._prefills[self._key] = self._probe_prefill(cancel)
            return self._prefills[self._key]

    def _probe_prefill(self, cancel: threading.Event | None) -> PrefillKind:
        """Measure how the server uses a prefill.

        One token cannot be the whole beginning, so an answer that starts with it repeats it. A
        prompt that ends with the beginning continues it. Without a prompt to look at, which no
        server returns that reports logprobs, it counts as ignored.
        """
        question = (Message("user", "Say one sentence."),)
        request = Request(question, max_tokens=1, prefill=BEGINNING)
        try:
            if self._generate(request, None, cancel).text.startswith(BEGINNING):
                return "repeated"
            body = self._body(request) | {"stream": False, "_debug_render_only": True}
            rendered = rendered_prompt(self._host, body)
        except SkillFailed:  # some models refuse it, such as those that reason
            return "ignored"
        return "continued" if rendered.rstrip().endswith(BEGINNING) else "ignored"

    def _body(self, request: Request) -> dict[str, Any]:
        takes_tools = bool(request.tools) and self.takes_tools
        return chat_body(self._name, self.context, request, takes_tools=takes_tools)

    def _error(self, exc: ollama.ResponseError) -> HarnessError:
        if exc.status_code == MID_STREAM:
            return remote.stream_error(self._server, plain(exc.error))
        if exc.status_code == 404:
            return ModelUnavailable(
                f"{self._server} has no model {self._name!r}: {exc.error}",
                hint=f"`ollama pull {self._name}` downloads it.",
            )
        return refusal(exc.status_code, exc.error, self._server, self._name)
