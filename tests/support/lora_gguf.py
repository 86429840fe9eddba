"""A LoRA adapter for SmolLM2-135M as a GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

RANK, ALPHA = 4, 8.0
CHANGED = {"blk.0.attn_q.weight": (576, 576), "blk.7.ffn_down.weight": (1536, 576)}
"""Weights of SmolLM2-135M, in x out."""


def write_adapter(
    path: Path,
    shapes: dict[str, tuple[int, int]] = CHANGED,
    kind: gguf.GGMLQuantizationType | None = None,
) -> Path:
    """Write a LoRA adapter that changes these weights by about a tenth.

    Args:
        kind: of both matrices; None: A in float16 and B in float32.
    """
    drawn = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, (inside, outside) in shapes.items():
        a, b = drawn.normal(0, 0.1, (RANK, inside)), drawn.normal(0, 0.05, (outside, RANK))
        for half, values, dtype in (("a", a, np.float16), ("b", b, np.float32)):
            data = values.astype(dtype) if kind is None else quantize(values.astype("f4"), kind)
            writer.add_tensor(f"{name}.lora_{half}", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_base(path: Path, shapes: dict[str, tuple[int, int]] = CHANGED) -> Path:
    """Write a model of these weights, each of which is 1."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, (inside, outside) in shapes.items():
        writer.add_tensor(name, np.ones((outside, inside), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
