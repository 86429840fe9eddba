"""The embedded engine: llama.cpp in this process, through xllamacpp."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    ModelUnavailable,
    SkillFailed,
)
from harness.models.backend import Availability, OnText, Reply, Request, Token
from harness.models.backends import llama_engine
from harness.models.backends.generation import Emit, GenerationState, relay, token_text
from harness.models.weights import FileStore

if TYPE_CHECKING:
    from harness.models.registry import ServeEntry

GRAMMAR_HEADER = "%llguidance {}\n"
"""The header of an LLGuidance grammar; without it, the engine parses GBNF."""


class LlamaCppBackend:
    """The embedded backend, which runs GGUF files of the registry, with or without an adapter."""

    name = "llamacpp"

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def probe(self, entry: ServeEntry) -> Availability:
        if importlib.util.find_spec(llama_engine.NAME) is None:
            return Availability(False, f"{llama_engine.NAME} is not installed")
        if missing := next(filter(None, map(self._files.missing, entry.files.values())), None):
            return Availability(False, missing)
        to_fetch = self._files.to_fetch(*entry.files.values())
        return Availability(True, f"{to_fetch / 1e6:.0f} MB to download" if to_fetch else "")

    def load(self, entry: ServeEntry, slots: int | None = 1) -> LlamaCppModel:
        file_ids = entry.files
        paths = {role: self._files.ensure(file_id) for role, file_id in file_ids.items()}
        digests = {role: self._files.digest(file_id) for role, file_id in file_ids.items()}
        if entry.merge:
            try:
                paths = {"gguf": self._files.merged(file_ids["gguf"], file_ids["adapter"])}
                digests["merged"] = self._files.digest_of(paths["gguf"])
            except ModelUnavailable as exc:  # the engine can also load base and adapter separately
                self._files.notify(f"{entry.where}: not merged, which is slower: {exc.message}")
        slots = slots or entry.slots or llama_engine.SLOTS
        place = " + ".join(map(self._files.name, file_ids.values()))
        return LlamaCppModel(llama_engine.start(paths, entry.context, slots), digests, slots, place)


class LlamaCppModel:
    """A model in this process, with one concurrent generation for each slot.

    A request gives the same text and the same `logprobs` in every slot, with or without other
    requests at the same time (`llama_engine.cache_settings`). This was measured for 18 prompts of
    79 to 564 tokens, without a cache and with all tokens but one cached (for 8 prompts, also with
    all but the last 20).
    """

    takes_grammar = in_process = True
    takes_tools = False

    def __init__(
        self,
        running: llama_engine.Engine,
        digests: Mapping[str, str],
        slots: int = 1,
        place: str = "",
    ) -> None:
        self._engine: llama_engine.Engine | None = running
        self.digests = digests
        self.slots = slots
        self.place = place

    @cached_property
    def context(self) -> int:
        """The context of a slot in tokens, which the engine may have rounded or limited."""
        return int(self._running().request("GET", "/props")["default_generation_settings"]["n_ctx"])

    def count_tokens(self, request: Request) -> int:
        path = "/v1/chat/completions/input_tokens"
        return int(self._running().request("POST", path, _prompt(request))["input_tokens"])

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate; see `backend.Model.generate`. The same request gives the same text."""
        # For an unknown slot, the engine would silently use another slot.
        if request.slot is not None and request.slot >= self.slots:
            raise ValueError(f"there is no slot {request.slot}: the model has {self.slots}")
        running, body = self._running(), _body(request)
        state = GenerationState(request, cancel, on_text)
        finish: list[str] = []
        usage: dict[str, Any] = {}

        def produce(emit: Emit[Any]) -> None:
            try:
                returned = running.generate(body, emit)
            except (ValueError, RuntimeError) as exc:
                raise SkillFailed(f"the engine refuses the request: {exc}") from exc
            if returned:
                emit(returned)

        def take(chunk: Mapping[str, Any]) -> None:
            if "error" in chunk:
                raise _engine_error(chunk["error"], state.text)
            for choice in chunk.get("choices", ()):
                state.add(choice["delta"].get("content") or "")
                for token in (choice.get("logprobs") or {}).get("content", ()):
                    state.add_token(Token(*_pair(token)), map(_pair, token["top_logprobs"]))
                finish.extend(filter(None, [choice["finish_reason"]]))
            usage.update(chunk.get("usage") or {})

        relay(produce, take, state)
        if not finish:
            raise GenerationFailed("the engine's answer has no end", partial=state.text)
        return state.reply(
            "length" if finish[-1] == "length" else "stop",
            usage.get("prompt_tokens", 0),
            usage.get("completion_tokens", 0),
            usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        )

    def close(self) -> None:
        running, self._engine = self._engine, None
        if running is not None:
            running.free()

    def _running(self) -> llama_engine.Engine:
        if self._engine is None:
            raise RuntimeError("the model was closed")
        return self._engine


def _pair(token: Mapping[str, Any]) -> tuple[str, float]:
    return token_text(token["token"], token["bytes"]), token["logprob"]


def _prompt(request: Request) -> dict[str, Any]:
    """Return the part of the request body from which the chat template makes the prompt.

    The engine continues a final message of the assistant, and does not repeat it in the answer.
    """
    return {
        "messages": [{"role": m.role, "content": m.content} for m in request.conversation],
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = {
        **_prompt(request),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stop": list(request.stop),
        "stream": True,
        "stream_options": {"include_usage": True},
        # With a chunk after each batch of the prompt, a request can stop before its first token.
        "return_progress": True,
    }
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.slot is not None:
        body["id_slot"] = request.slot
    grammar = _grammar(request)
    if grammar is not None:
        body["grammar"] = grammar
    return body


def _grammar(request: Request) -> str | None:
    """Return the LLGuidance grammar of a request.

    The grammar is validated, since the engine silently ignores a grammar that it cannot compile.

    Raises:
        SkillFailed: the grammar or schema cannot be compiled.
    """
    if request.grammar is not None:
        grammar = request.grammar.lstrip()
        if not grammar.startswith(GRAMMAR_HEADER.split()[0]):
            grammar = GRAMMAR_HEADER + grammar
    elif (schema := request.json_schema) is not None:
        # The JSON must be compact, since a model could generate optional white space endlessly.
        guidance = {**schema.get("x-guidance", {}), "whitespace_flexible": False}
        compact = {**schema, "x-guidance": guidance}
        try:
            grammar = str(llama_engine.module().json_schema_to_grammar(compact))
        except (ValueError, TypeError, RuntimeError) as exc:
            raise SkillFailed(f"the JSON schema cannot be read: {exc}") from exc
    else:
        return None
    from llguidance import LLMatcher

    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if is_error:
        kind = "grammar" if request.json_schema is None else "JSON schema"
        reason = " ".join(messages[0].partition("\n   1 | ")[0].split())
        raise SkillFailed(
            f"the engine cannot follow the {kind}: {reason}",
            hint="Nothing was generated. Remove the unsupported part.",
        )
    return grammar


def _engine_error(error: Mapping[str, Any], partial: str) -> HarnessError:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return InputError(
            f"the prompt has {error.get('n_prompt_tokens')} tokens and the model's context "
            f"{error.get('n_ctx')}",
            hint="Shorten the input, or raise `context` of the model in the registry.",
        )
    if error.get("code") == 400:
        return SkillFailed(f"the engine refuses the request: {message}")
    return GenerationFailed(
        f"the engine stopped with an error: {message}", partial=partial, hint="Run the line again."
    )
