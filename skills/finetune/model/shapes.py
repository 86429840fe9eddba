"""The shapes of a base that is on this machine, of its config.json or its GGUF; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from skills.finetune.model.facts import BaseFacts

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Model types of transformers, and architectures of GGUF, whose layers these modules know."""
NOT_WEIGHTS = frozenset({"rope_freqs.weight"})
"""Tensors of a GGUF that transformers computes."""


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a base.

    Raises:
        InputError: there is none, or it is of a model that is no base here.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        adapter = (folder / "adapter_config.json").exists()
        raise InputError(
            "is an adapter, and no model" if adapter else "has no config.json",
            where=str(folder),
            hint="A base is a folder as transformers saves a model.",
        ) from exc
    except (OSError, ValueError) as exc:
        raise InputError(f"cannot be read: {exc}", where=str(path)) from exc
    if not isinstance(config, dict):
        raise InputError("is no configuration of a model", where=str(path))
    _check_family(config.get("model_type"), path)
    if config.get("quantization_config"):
        raise InputError(
            "is of weights that are quantized already",
            where=str(path),
            hint="Take the same model in 16 bits: it is quantized as the recipe says.",
        )
    return config


def of_config(config: Mapping[str, Any], name: str, source: str, where: str) -> BaseFacts:
    """The shapes a config.json tells.

    The parameters are those of the Llama architecture as transformers builds it: embedding, per
    layer the seven matrices, their biases and two norms (Qwen3: two more over a head), a last norm,
    and the output where it is not the embedding.

    Raises:
        InputError: it lacks one of them.
    """
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        layers, vocab = int(config["num_hidden_layers"]), int(config["vocab_size"])
        intermediate = int(config["intermediate_size"])
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(f"lacks a number: {exc}", where=where) from exc
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or hidden // heads)
    queries, keys = heads * head_dim, kv_heads * head_dim
    matrices = 2 * hidden * (queries + keys) + 3 * hidden * intermediate
    layer = matrices + _biases(config, queries, keys, intermediate) + 2 * hidden
    if config["model_type"] == "qwen3":
        layer += 2 * head_dim
    tied = bool(config.get("tie_word_embeddings", False))  # the default of all `FAMILIES`
    parameters = layers * layer + hidden + vocab * hidden * (1 if tied else 2)
    return BaseFacts(
        name,
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate,
        vocab,
        tied,
        parameters,
        source,
    )


def of_gguf(gguf: Path, name: str, source: str) -> BaseFacts:
    """The shapes a GGUF tells; its tensors are counted, not read.

    Raises:
        InputError: it is no GGUF of a model that can be a base.
    """
    from gguf import GGUFReader

    from skills.finetune.model.gguf_folder import field

    try:
        reader = GGUFReader(gguf)
    except ValueError as exc:
        raise InputError(f"is no GGUF that can be read: {exc}", where=str(gguf)) from exc
    architecture = field(reader, "general.architecture")
    if field(reader, "general.type") == "adapter":
        raise InputError("is an adapter, and no model", where=str(gguf))
    _check_family(architecture, gguf)
    tensors = {str(t.name): int(t.n_elements) for t in reader.tensors}
    values = {key: field(reader, f"{architecture}.{key}") for key in _KEYS}
    missing = [key for key in _KEYS[:4] if not isinstance(values[key], int)]
    if missing:
        raise InputError(f"lacks {architecture}.{missing[0]}", where=str(gguf))
    hidden, heads = values["embedding_length"], values["attention.head_count"]
    return BaseFacts(
        name,
        hidden,
        values["block_count"],
        heads,
        values["attention.head_count_kv"] or heads,
        values["attention.key_length"] or hidden // heads,
        values["feed_forward_length"],
        tensors["token_embd.weight"] // hidden,
        "output.weight" not in tensors,
        sum(size for tensor, size in tensors.items() if tensor not in NOT_WEIGHTS),
        source,
    )


_KEYS = (
    "embedding_length",
    "block_count",
    "attention.head_count",
    "feed_forward_length",
    "attention.head_count_kv",
    "attention.key_length",
)


def _biases(config: Mapping[str, Any], queries: int, keys: int, intermediate: int) -> int:
    """Of one layer. Qwen2 has them at queries, keys and values, whatever its config says."""
    hidden = int(config["hidden_size"])
    count = 0
    if config["model_type"] == "qwen2":
        count += queries + 2 * keys
    elif config.get("attention_bias"):
        count += queries + 2 * keys + hidden
    if config.get("mlp_bias"):
        count += 2 * intermediate + hidden
    return count


def _check_family(found: object, where: Path) -> None:
    if found not in FAMILIES:
        raise InputError(
            f"is a model of the kind {found!r}, which cannot be a base",
            where=str(where),
            hint=f"A base is of the kind {', '.join(FAMILIES)}.",
        )
