"""Starting llama.cpp in this process: xllamacpp's parameters, and how its threads behave."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ModelUnavailable
from harness.support.cpu import available_cores, giving_way

NAME = "xllamacpp"
BATCH = 128
"""Prompt tokens evaluated at a time. The engine can only be stopped between two batches: with its
own 2048, an interrupted prompt of 900 tokens went on for 2.5 s; 512 would annotate 6% faster."""
SLOTS = 4
"""Generations at once where a job asks for as many as this place is good for. On two cores, 1, 2, 4
and 8 annotated 31, 28, 36 and 31 papers a minute, each in its best of three turns."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine: the object that answers in process, and the key of its HTTP port."""

    server: Any
    key: str


def module() -> Any:
    """The module xllamacpp, imported so that its threads give way to other processes."""
    with giving_way():
        import xllamacpp
    return xllamacpp


def start(paths: Mapping[str, Path], context: int, slots: int = 1) -> Engine:
    """Load the files and return the running engine.

    Args:
        paths: the GGUF files by role, "gguf" and perhaps "adapter".
        context: tokens of each slot, prompt and completion together.
        slots: generations at once. Each holds memory for its whole context from the beginning:
            23 KB a token with SmolLM2-135M.

    Raises:
        ModelUnavailable: it cannot load them, or is another build than this code was written for.
    """
    for path in paths.values():
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelUnavailable(
                    f"{path} is not a GGUF file", hint="Correct its path in the registry."
                )
    try:
        xllamacpp = module()
        params = _params(xllamacpp, paths, context, slots)
        key = secrets.token_hex(16)
        # The engine always opens a port on this machine: nobody else has its key.
        assign(params, api_keys=[key])
        server = xllamacpp.Server(params)
        # Freeing an engine whose loop has not begun waits for ever; an answer shows that it has.
        server.handle_metrics()
    except (ImportError, RuntimeError, ValueError, TypeError) as exc:
        files = " with ".join(str(path) for path in paths.values())
        raise ModelUnavailable(
            f"the engine cannot load {files}: {exc}",
            hint="The file may be damaged, of a kind the engine does not know, or too large for "
            "the memory; an adapter may belong to another model.",
        ) from exc
    return Engine(server, key)


def _params(xllamacpp: Any, paths: Mapping[str, Path], context: int, slots: int) -> Any:
    params = xllamacpp.CommonParams()
    assign(params.model, path=str(paths["gguf"]))
    if "adapter" in paths:
        adapter = xllamacpp.CommonAdapterLoraInfo(str(paths["adapter"]), 1.0)
        assign(params, lora_adapters=[adapter])
    cores = available_cores()
    assign(params.cpuparams, n_threads=cores)
    assign(params.cpuparams_batch, n_threads=cores)
    assign(
        params,
        n_ctx=context * slots,  # of all slots together
        n_parallel=slots,
        kv_unified=False,  # a shared cache that fills up ends every generation at once
        n_batch=BATCH,
        n_ubatch=BATCH,
        fit_params=False,  # the context is the entry's, and 0.15 s are saved
        ui=False,
        endpoint_slots=False,
        endpoint_metrics=True,  # what `start` asks
        cache_ram_mib=0,  # keeps up to 8 GiB of prompts that are never asked again
        **_kept(xllamacpp),
        warmup=False,
        verbosity=0,  # from 1 on, the engine reports on fd 2 what is raised here anyway
    )
    return params


def _kept(xllamacpp: Any) -> dict[str, Any]:
    """How keys and values are kept, so that a request gives the same text whatever else is asked.

    With both as f16, the engine computes attention in other ways for 64 tokens and more at once and
    for one alone: a prompt is cut differently beside others, or after a cached beginning, and 4 of
    8 abstracts got another text. For values as bf16 it has one way alone. That takes a quarter
    longer for a prompt of 700 tokens and a tenth for one of 200; keeping the instructions, which
    every prompt begins with, makes up for it. Weights as Q4_1, Q8_0 and F32 are as steady; with an
    adapter in f16, 1 of 6 abstracts still differed. Nothing of this holds on a GPU.
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


def assign(target: Any, **values: Any) -> None:
    """Set attributes of the engine's parameters.

    Raises:
        ModelUnavailable: this build has no such parameters; names differ between builds.
    """
    unknown = [name for name in values if not hasattr(target, name)]
    if unknown:
        raise ModelUnavailable(
            f"this build of {NAME} has no {', '.join(unknown)} in its {type(target).__name__}",
            hint="Install the build that pyproject.toml names.",
        )
    for name, value in values.items():
        setattr(target, name, value)
