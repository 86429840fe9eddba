"""Run llama.cpp in this process, through xllamacpp: parameters, threads, and HTTP port."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import GenerationFailed, ModelUnavailable, SkillFailed
from harness.support import ctrl_c
from harness.support.calls import in_thread
from harness.support.process import available_cores, low_spin_openmp

NAME = "xllamacpp"
BATCH = 128
"""Number of prompt tokens in a batch. The engine can be stopped only between batches: with the
default of 2048, an interrupted prompt of 900 tokens continued for 2.5 s. With 512, annotating would
be 6% faster.
"""
SLOTS = 4
"""Default number of concurrent generations of a job. On two cores with 1, 2, 4 and 8 slots, the
best of three runs annotated 31, 28, 36 and 31 papers a minute.
"""
FREE_SECONDS = 5.0
"""Maximum number of seconds to wait until an engine is freed."""
LARGE = 500_000_000
"""Minimum size in bytes of weights whose loading may delay Ctrl-C too long: the engine blocks other
Python code during loading. 98 MB take 0.4 s.
"""
_CHANGING = threading.Lock()
"""Held by a thread while it loads or frees a model."""
SECONDS = 30.0
"""Timeout of a request to the port in seconds; most answers take milliseconds."""
IDLE_SECONDS = 2.0
"""Maximum idle time of the connection in seconds; the engine closes it after 5 s."""


class Engine:
    """A running engine, which generates in this process and answers other requests at its port.

    Args:
        server: the in-process server object. The engine must have the only reference to it: its
            destructor waits until the engine has stopped computing, and blocks other Python code.
        key: the API key of its HTTP port.
    """

    def __init__(self, server: Any, key: str) -> None:
        import httpx

        self.server = server
        self.key = key
        self._generations = 0
        self._ended = threading.Condition()
        self._port = httpx.Client(
            base_url=server.listening_address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(SECONDS, pool=None),
            # each connection occupies one of the engine's few HTTP threads
            limits=httpx.Limits(max_connections=1, keepalive_expiry=IDLE_SECONDS),
            trust_env=False,  # no proxy is used for an address of this machine
        )

    def generate(self, body: Mapping[str, Any], emit: Callable[[Any], bool]) -> Any:
        """Run a chat completion; pass chunks to `emit`, or return the whole answer or error."""
        with self._ended:
            self._generations += 1
        try:
            return self.server.handle_chat_completions(body, emit)
        finally:
            with self._ended:
                self._generations -= 1
                self._ended.notify_all()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request to the port and return the JSON of the answer.

        Raises:
            SkillFailed: the engine refuses the request.
            GenerationFailed: the engine does not answer.
        """
        import httpx

        try:
            answer = self._port.request(method, path, json=body).json()
        except (httpx.HTTPError, json.JSONDecodeError) as exc:
            raise GenerationFailed(
                f"the engine does not answer at its port: {type(exc).__name__}: {exc}",
                hint="Run the line again.",
            ) from exc
        if "error" in answer:
            raise SkillFailed(f"the engine refuses the request: {answer['error']['message']}")
        return answer

    def free(self) -> None:
        """Free the engine now if it is idle, or else when its generations have ended."""
        self._port.close()
        thread = threading.Thread(target=self._free, name="freeing")
        thread.start()
        thread.join(FREE_SECONDS)

    def _free(self) -> None:
        with _CHANGING, self._ended:
            self._ended.wait_for(lambda: not self._generations)
            self.server = None


def module() -> Any:
    """Import xllamacpp so that its idle threads yield to other processes."""
    with low_spin_openmp():
        import xllamacpp
    return xllamacpp


def start(paths: Mapping[str, Path], context: int, slots: int = 1) -> Engine:
    """Load the files and return the running engine.

    Args:
        paths: the GGUF files by role, "gguf" and optionally "adapter".
        context: number of tokens of each slot, for prompt and completion together.
        slots: number of concurrent generations, each of which allocates memory for its whole
            context: 23 KB for a token of SmolLM2-135M.

    Raises:
        ModelUnavailable: the files cannot be loaded, or this build is not supported.
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
        # Ctrl-C between two calls of `_start` would free the engine before its loop has started.
        with ctrl_c.left_to_the_system() if large else contextlib.nullcontext():
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
        # Freeing an engine before its loop has started would block; an answer shows that it has
        # started.
        server.handle_metrics()
        return Engine(server, key)


def assign(target: Any, **values: Any) -> None:
    """Set attributes of the engine's parameters; raise AttributeError if this build lacks one."""
    for name, value in values.items():
        setattr(target, name, value)


def cache_settings(xllamacpp: Any) -> dict[str, Any]:
    """Return the settings of the key-value cache that make generations reproducible.

    With keys and values as f16, the engine computes attention differently for 64 or more tokens
    together than for a single token. Prompts are divided differently if other prompts are computed
    at the same time, and after a cached beginning, so that the texts for 4 of 8 abstracts changed.
    With values as bf16, there is only one way of computing. It takes a quarter longer for a prompt
    of 700 tokens, and a tenth longer for 200 tokens; caching the instructions at the beginning of
    every prompt compensates for this. Weights as Q4_1, Q8_0 and F32 are equally reproducible; with
    an f16 adapter, 1 of 6 abstracts still differed. On a GPU, generations are not reproducible in
    this way.
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
        kv_unified=False,  # otherwise, if a shared cache fills up, every generation ends
        n_batch=BATCH,
        n_ubatch=BATCH,
        fit_params=False,  # keeps the context of the entry, and saves 0.15 s
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
