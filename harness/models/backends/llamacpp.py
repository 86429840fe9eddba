"""The embedded engine: llama.cpp in this process, through xllamacpp."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    ModelUnavailable,
    SkillFailed,
)
from harness.models.backend import Availability, OnText, Reply, Request, Token
from harness.models.backends.generation import Emit, GenerationState, relay, token_text
from harness.models.weights import FileStore
from harness.support import ctrl_c
from harness.support.calls import in_thread
from harness.support.process import available_cores, low_spin_openmp

if TYPE_CHECKING:
    from harness.models.registry import ServeEntry

NAME = "xllamacpp"
BATCH = 128
"""Number of prompt tokens in a batch. The engine can be stopped only between batches: with the
default of 2048, an interrupted prompt of 900 tokens continued for 2.5 s. With 512, annotating would
be 6% faster.
"""
SLOTS = 4
"""Default number of concurrent generations of a job. On two cores, the best of three runs annotated
31 papers a minute with 1 slot, 28 with 2 slots, 36 with 4 slots, and 31 with 8 slots.
"""
FREE_SECONDS = 5.0
"""Maximum number of seconds that `Engine.free` waits for the thread that frees the engine."""
LARGE = 500_000_000
"""Total file size in bytes above which loading a model may delay Ctrl-C too long. The engine blocks
other Python code during loading; loading 98 MB takes 0.4 s.
"""
_CHANGING = threading.Lock()
"""Held by a thread while it loads or frees a model."""
SECONDS = 30.0
"""Timeout in seconds of a request to the engine's port; most answers take milliseconds."""
IDLE_SECONDS = 2.0
"""Maximum idle time in seconds of a connection to the port. The engine closes an idle connection
after 5 s.
"""
GRAMMAR_HEADER = "%llguidance {}\n"
"""The header of an LLGuidance grammar; without it, the engine parses GBNF."""


class Engine:
    """A running engine: it generates in this process, and answers other requests at its port.

    Args:
        server: the server object of xllamacpp. Its destructor blocks all Python code until the
            computation has stopped. No other object may refer to the server, so that `free` decides
            when the destructor runs.
        key: the API key of the engine's HTTP port.
    """

    def __init__(self, server: Any, key: str) -> None:
        import httpx

        self.server = server
        self.key = key
        self._generations = 0
        self._ended = threading.Condition()
        # Only one request is sent at a time, since each connection occupies one of the engine's few
        # HTTP threads.
        self._turn = threading.Lock()
        self._port = httpx.Client(
            base_url=server.listening_address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=SECONDS,
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
            trust_env=False,  # proxies in the environment are ignored: the port is on this machine
        )

    def generate(self, body: Mapping[str, Any], emit: Callable[[Any], bool]) -> Any:
        """Run a chat completion, and pass its chunks to `emit`.

        Returns:
            An answer or an error that the engine does not send as a chunk. Any false value means
            that everything was sent in chunks.
        """
        with self._ended:
            self._generations += 1
        try:
            return self.server.handle_chat_completions(body, emit)
        finally:
            with self._ended:
                self._generations -= 1
                self._ended.notify_all()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request to the engine's port, and return the parsed JSON of the answer.

        Raises:
            SkillFailed: the engine refuses the request.
            GenerationFailed: the engine does not answer, or was freed.
        """
        import httpx

        try:
            with self._turn:
                answer = self._port.request(method, path, json=body).json()
        # httpx raises a RuntimeError if another thread has freed the engine
        except (httpx.HTTPError, json.JSONDecodeError, RuntimeError) as exc:
            raise GenerationFailed(
                f"the engine does not answer at its port: {type(exc).__name__}: {exc}",
                hint="Run the line again.",
            ) from exc
        if "error" in answer:
            raise SkillFailed(f"the engine refuses the request: {answer['error']['message']}")
        return answer

    def free(self) -> None:
        """Free the engine in a thread when its generations have ended.

        The method waits at most `FREE_SECONDS` for this thread.
        """
        with self._turn:
            self._port.close()
        thread = threading.Thread(target=self._free, name="freeing")
        thread.start()
        thread.join(FREE_SECONDS)

    def _free(self) -> None:
        with _CHANGING, self._ended:
            self._ended.wait_for(lambda: not self._generations)
            self.server = None


def module() -> Any:
    """Import xllamacpp so that its idle threads soon sleep, and return the module."""
    with low_spin_openmp():
        import xllamacpp
    return xllamacpp


def start(paths: Mapping[str, Path], context: int, slots: int = 1) -> Engine:
    """Load the files of a model, and return the running engine.

    Args:
        paths: the GGUF files by role, "gguf" and optionally "adapter".
        context: number of tokens of each slot, for prompt and completion together.
        slots: number of concurrent generations. Each slot allocates memory for its whole context,
            23 KB per token for SmolLM2-135M.

    Raises:
        ModelUnavailable: the files cannot be loaded, or this build of xllamacpp is not supported.
    """
    for path in paths.values():
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelUnavailable(
                    f"{path} is not a GGUF file",
                    hint="Correct the path of the file in the registry.",
                )
    large = sum(path.stat().st_size for path in paths.values()) > LARGE
    try:
        with ctrl_c.left_to_the_system() if large else contextlib.nullcontext():
            # `_start` runs in a thread, where Ctrl-C cannot interrupt it. In the main thread,
            # Ctrl-C could free the engine before its loop has started; freeing would then block.
            return in_thread(partial(_start, paths, context, slots), "loading")
    except (ImportError, AttributeError, RuntimeError, ValueError, TypeError) as exc:
        files = " with ".join(str(path) for path in paths.values())
        raise ModelUnavailable(
            f"the engine cannot load {files}: {exc}",
            hint="The file may be damaged, in an unknown format, or too large for the memory; an "
            "adapter may belong to another model.",
        ) from exc


def _start(paths: Mapping[str, Path], context: int, slots: int) -> Engine:
    with _CHANGING:
        xllamacpp = module()
        params = _params(xllamacpp, paths, context, slots)
        key = secrets.token_hex(16)
        # The engine always opens a port on this machine; the key protects it from other users.
        params.api_keys = [key]
        server = xllamacpp.Server(params)
        # Freeing an engine before its loop has started would block. An answer to this request shows
        # that the loop has started.
        server.handle_metrics()
        return Engine(server, key)


def assign(target: Any, **values: Any) -> None:
    """Set attributes of the engine's parameters; raise AttributeError for an unknown attribute."""
    for name, value in values.items():
        setattr(target, name, value)


def cache_settings(xllamacpp: Any) -> dict[str, Any]:
    """Return the parameters of the key-value cache that make generations reproducible.

    If keys and values are f16, the engine computes the attention of 64 or more tokens in another
    way than the attention of a single token. A cached beginning, or other prompts at the same time,
    change the division of a prompt into batches; these changes altered the texts for 4 of 8
    abstracts. If values are bf16, attention is always computed in the same way, and the texts did
    not change with weights as Q4_1, Q8_0 and F32. With an adapter in f16, 1 of 6 texts changed even
    with bf16 values. With bf16 values, a prompt of 700 tokens takes a quarter longer, and a prompt
    of 200 tokens takes a tenth longer; the cache compensates for this, since every prompt begins
    with the same instructions. On a GPU, these settings do not help, so prompts are not cached.
    """
    kinds = xllamacpp.ggml_backend_dev_type
    cpu = kinds.GGML_BACKEND_DEVICE_TYPE_CPU
    if any(device["type"] != cpu for device in xllamacpp.get_device_info()):
        return {"cache_prompt": False}
    return {
        "cache_prompt": True,
        "cache_type_k": xllamacpp.ggml_type.GGML_TYPE_F16,
        "cache_type_v": xllamacpp.ggml_type.GGML_TYPE_BF16,
        "flash_attn_type": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    }


def _params(xllamacpp: Any, paths: Mapping[str, Path], context: int, slots: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(paths["gguf"])
    if "adapter" in paths:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(paths["adapter"]), 1.0)]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = available_cores()
    assign(
        params,
        n_ctx=context * slots,  # the number of tokens of all slots together
        n_parallel=slots,
        kv_unified=False,  # if a cache shared by all slots fills up, every generation ends
        n_batch=BATCH,
        n_ubatch=BATCH,
        fit_params=False,  # True would fit parameters to the free memory, which takes 0.15 s
        ui=False,
        endpoint_slots=False,
        endpoint_metrics=True,  # `_start` requests the metrics
        # otherwise the engine would keep up to 8 GiB of prompts that are not used again
        cache_ram_mib=0,
        **cache_settings(xllamacpp),
        warmup=False,
        verbosity=0,  # from 1 on, the engine prints errors that are also raised here
    )
    return params


class LlamaCppBackend:
    """The backend for the embedded engine, which runs GGUF files of the registry."""

    name = "llamacpp"

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def probe(self, entry: ServeEntry) -> Availability:
        if importlib.util.find_spec(NAME) is None:
            return Availability(False, f"{NAME} is not installed")
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
        slots = slots or entry.slots or SLOTS
        place = " + ".join(map(self._files.name, file_ids.values()))
        return LlamaCppModel(start(paths, entry.context, slots), digests, slots, place)


class LlamaCppModel:
    """A model in this process, with one concurrent generation for each slot.

    On a CPU and without an f16 adapter, a request gives the same text and the same `logprobs` in
    every slot, with or without other requests at the same time (see `cache_settings`). This was
    measured for 18 prompts of 79 to 564 tokens, both without a cache and with a cache of all tokens
    but the last token.
    """

    takes_grammar = in_process = True
    takes_tools = False

    def __init__(
        self,
        running: Engine,
        digests: Mapping[str, str],
        slots: int = 1,
        place: str = "",
    ) -> None:
        self._engine: Engine | None = running
        self.digests = digests
        self.slots = slots
        self.place = place

    @cached_property
    def context(self) -> int:
        """The context of a slot: the registry's value, rounded up, at most the model's maximum."""
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
        """Generate a reply (see `backend.Model.generate`)."""
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

    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the model was closed")
        return self._engine


def _pair(token: Mapping[str, Any]) -> tuple[str, float]:
    return token_text(token["token"], token["bytes"]), token["logprob"]


def _prompt(request: Request) -> dict[str, Any]:
    """Return the fields of the request body from which the chat template makes the prompt.

    If the last message is the assistant's, the engine continues this message, and does not repeat
    it in the answer.
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
        # With this option, the engine also sends a chunk after each batch of the prompt, so that a
        # request can be stopped before its first token.
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
    """Return the LLGuidance grammar for the `grammar` or `json_schema` of a request, or None.

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
            grammar = str(module().json_schema_to_grammar(compact))
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
            f"the prompt has {error.get('n_prompt_tokens')} tokens, more than the model's context "
            f"of {error.get('n_ctx')}",
            hint="Shorten the input, or raise `context` of the model in the registry.",
        )
    if error.get("code") == 400:
        return SkillFailed(f"the engine refuses the request: {message}")
    return GenerationFailed(
        f"the engine stopped with an error: {message}", partial=partial, hint="Run the line again."
    )
