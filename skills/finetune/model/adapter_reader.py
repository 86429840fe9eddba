"""Read the GGUF of a LoRA adapter, with the names and the row order of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import InputError, ModelUnavailable
from harness.models.gguf_file import lora_pairs, open_gguf
from skills.finetune.formats.lora_adapter import LoraAdapter
from skills.finetune.model.facts import BaseFacts

PERMUTED = ("q_proj", "k_proj")
"""Layers whose rows llama.cpp's converter reorders within each head for the architecture llama: its
engine rotates neighbouring rows, transformers the two halves of a head."""


def read_gguf_adapter(path: Path, facts: BaseFacts) -> LoraAdapter:
    """Read the GGUF of an adapter of the base that `facts` describes.

    Raises:
        InputError: it is damaged, or its layers differ in r.
    """
    import gguf

    try:
        pairs = lora_pairs(path)
        architecture = open_gguf(path).values["general.architecture"]
        kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    except (ModelUnavailable, KeyError) as exc:
        reason = exc.message if isinstance(exc, ModelUnavailable) else str(exc)
        raise InputError(f"the adapter cannot be read: {reason}", where=str(path)) from exc
    ranks = {len(a): scale for a, _, scale in pairs.values()}
    if len(ranks) != 1:
        raise InputError(
            f"its layers have r {', '.join(map(str, sorted(ranks))) or 'none'}",
            where=str(path),
            hint="Training continues from an adapter with one r.",
        )
    ((r, scale),) = ranks.items()
    names = gguf.get_tensor_name_map(kind, facts.layers)
    layers = {f"{names.get_name(layer)}.weight": layer for layer in facts.layer_shapes}
    matrices = {}
    for name, (a, b, _) in pairs.items():
        layer = layers.get(name, name)
        if architecture == "llama" and layer.endswith(PERMUTED):
            b = _unpermuted(b, facts.heads if layer.endswith("q_proj") else facts.kv_heads)
        matrices[layer] = a, b
    shapes = {layer: (b.shape[0], a.shape[1]) for layer, (a, b) in matrices.items()}
    return LoraAdapter(path, r, scale * r, shapes, matrices.__getitem__)


def permuted(b: Any, heads: int) -> Any:
    """Return B of a layer of `PERMUTED` with its rows in the order of a GGUF."""
    return b.reshape(heads, 2, -1, b.shape[1]).swapaxes(1, 2).reshape(b.shape)


def _unpermuted(b: Any, heads: int) -> Any:
    """Return B with its rows in the order of transformers."""
    if len(b) % (2 * heads):
        return b  # of another base, which is refused for its shape
    return b.reshape(heads, -1, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
