"""An adapter of a base read, from a folder of peft or from a GGUF, by the names of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, ModelUnavailable
from harness.models.gguf_merge import lora_pairs
from harness.support.optional_deps import require
from skills.finetune.formats.lora_adapter import read_adapter
from skills.finetune.model.adapter_layers import layer_shapes
from skills.finetune.model.facts import BaseFacts
from skills.finetune.model.gguf_folder import field as gguf_field

PERMUTED = ("q_proj", "k_proj")
"""Layers whose rows llama.cpp's converter puts in another order for the architecture llama, within
each head: its engine rotates neighbours, transformers the halves of a head."""


@dataclass(frozen=True, slots=True)
class Start:
    """An adapter that training could go on from.

    Attributes:
        path: a folder of peft, or a GGUF.
        shapes: of each layer that it has, by the layer's name in transformers: (outputs, inputs).
        matrices: A, (r, inputs), and B, (outputs, r), of a layer, as tensors or arrays.
    """

    path: Path
    r: int
    alpha: float
    shapes: Mapping[str, tuple[int, int]]
    matrices: Callable[[str], tuple[Any, Any]]


def read(path: Path, facts: BaseFacts) -> Start:
    """Read an adapter, whether it fits the base or not.

    Raises:
        InputError: it is damaged, or no plain LoRA.
        UsageError: it is a folder, and the finetune extra is not installed.
    """
    return _of_folder(path) if path.is_dir() else _of_gguf(path, facts)


def _of_folder(path: Path) -> Start:
    require("safetensors")
    try:
        found = read_adapter(path)
    except InputError as exc:
        raise InputError(
            exc.message,
            where=exc.where,
            hint="Training goes on from plain LoRA of the linear layers of a decoder.",
        ) from exc
    return Start(path, found.r, found.alpha, found.shapes, found.matrices)


def _of_gguf(path: Path, facts: BaseFacts) -> Start:
    """Read the GGUF of an adapter, and name and order its layers as transformers does."""
    import gguf

    try:
        pairs = lora_pairs(path)
        architecture = gguf_field(gguf.GGUFReader(path), "general.architecture")
        kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    except (ModelUnavailable, KeyError, OSError, ValueError) as exc:
        raise InputError(
            "is no adapter that can be read: "
            f"{exc.message if isinstance(exc, ModelUnavailable) else exc}",
            where=str(path),
        ) from exc
    ranks = {len(a): scale for a, _, scale in pairs.values()}
    if len(ranks) != 1:
        raise InputError(
            f"its layers have r {', '.join(map(str, sorted(ranks))) or 'none'}",
            where=str(path),
            hint="Training goes on from an adapter of one r.",
        )
    ((r, scale),) = ranks.items()
    names = gguf.get_tensor_name_map(kind, facts.layers)
    layers = {f"{names.get_name(layer)}.weight": layer for layer, _ in layer_shapes(facts)}
    matrices = {}
    for name, (a, b, _) in pairs.items():
        layer = layers.get(name, name)
        if architecture == "llama" and layer.endswith(PERMUTED):
            b = _in_halves(b, facts.heads if layer.endswith("q_proj") else facts.kv_heads)
        matrices[layer] = a, b
    shapes = {layer: (b.shape[0], a.shape[1]) for layer, (a, b) in matrices.items()}
    return Start(path, r, scale * r, shapes, matrices.__getitem__)


def _in_halves(b: Any, heads: int) -> Any:
    """The rows of B in the order of transformers: those that llama.cpp has as neighbours apart."""
    if len(b) % (2 * heads):
        return b  # of another base, which is refused for its shape
    return b.reshape(heads, -1, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
