"""An adapter merged into its base, made once and kept: one GGUF that is served faster than two.

    W' = W + (alpha / r) B A        for each weight W the adapter has a pair of (Hu et al. 2021)

Both files are llama.cpp's, so that the sum is the one its engine would compute with the adapter
beside the base (the rows of query and key are permuted in both). It is taken in float32. All
matrices come out as Q8_0, whose products have faster kernels on a CPU than those of smaller types,
and which is near enough to the sum that the text is hardly another. Neither torch nor the finetune
extra is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ModelUnavailable

VERSION = 1
"""Of what this makes of the same two files; another one is merged anew."""
BLOCK = 32
"""Weights of a row that share a scale in Q8_0. Rows of another multiple stay as they are."""


class Pair(NamedTuple):
    """One weight's share of an adapter: A of r x in, B of out x r, and alpha / r."""

    a: Any
    b: Any
    scale: float


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Write `target`; half of it is there where that fails.

    Raises:
        ModelUnavailable: one file is no GGUF, the adapter is not one of this base, or the base has
            something that cannot be written or summed here.
        OSError: the file cannot be written.
    """
    from gguf import GGUFWriter

    weights, pairs = _opened(base), lora_pairs(adapter)
    _check(weights, pairs, base, adapter)
    writer = GGUFWriter(target, weights.fields["general.architecture"].contents())
    writer.data_alignment = weights.alignment
    try:
        _copy_metadata(weights, writer)
        for tensor in weights.tensors:
            _announce(writer, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in weights.tensors:
            writer.write_tensor_data(_merged(tensor, pairs.get(tensor.name)))
    except (ValueError, NotImplementedError) as exc:
        raise ModelUnavailable(f"it cannot be merged into: {exc}", where=str(base)) from exc
    finally:
        writer.close()


def lora_pairs(path: Path) -> dict[str, Pair]:
    """The pairs of a LoRA adapter that is a GGUF, by the weight that each is for, in float32.

    Raises:
        ModelUnavailable: it is no such file.
    """
    from gguf.quants import dequantize

    found = _opened(path)
    told = found.fields.get("adapter.lora.alpha")
    if told is None:
        raise ModelUnavailable("this GGUF is no LoRA adapter", where=str(path))
    halves: dict[str, dict[str, Any]] = {}
    for tensor in found.tensors:
        name, _, half = tensor.name.rpartition(".lora_")
        try:
            halves.setdefault(name, {})[half] = dequantize(tensor.data, tensor.tensor_type)
        except (ValueError, NotImplementedError) as exc:
            raise ModelUnavailable(f"{tensor.name} cannot be read: {exc}", where=str(path)) from exc
    pairs = {}
    for name, both in halves.items():
        if both.keys() != {"a", "b"} or not _is_pair(both["a"], both["b"]):
            raise ModelUnavailable(f"the adapter holds no pair for {name!r}", where=str(path))
        scale = float(told.contents()) / len(both["a"])
        pairs[name] = Pair(both["a"], both["b"], scale)
    return pairs


def _is_pair(a: Any, b: Any) -> bool:
    return bool(a.ndim == b.ndim == 2 and len(a) == b.shape[1] > 0)


def _opened(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError) as exc:
        raise ModelUnavailable(f"it cannot be read as GGUF: {exc}", where=str(path)) from exc


def _check(weights: Any, pairs: Mapping[str, Pair], base: Path, adapter: Path) -> None:
    """Raises ModelUnavailable where a pair has no weight of its shape in the base."""
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in weights.tensors}
    for name, pair in pairs.items():
        shape = pair.a.shape[1], pair.b.shape[0]
        if shapes.get(name) != shape:
            raise ModelUnavailable(
                f"the adapter changes {name} of {shape}, and the base {base.name} has "
                f"{shapes.get(name, 'none')}",
                where=str(adapter),
                hint="It was trained on another base.",
            )


def _copy_metadata(weights: Any, writer: Any) -> None:
    """All but what the writer itself says, and the type of the file."""
    from gguf import GGUFValueType, LlamaFileType

    for name, field in weights.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        if field.types[0] == GGUFValueType.ARRAY and not field.contents():
            continue  # the writer has no empty lists, and nobody needs them
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)


def _kind(tensor: Any) -> Any:
    """What a tensor is written as."""
    from gguf import GGMLQuantizationType

    is_matrix = len(tensor.shape) == 2 and tensor.shape[0] % BLOCK == 0
    return GGMLQuantizationType.Q8_0 if is_matrix else tensor.tensor_type


def _announce(writer: Any, tensor: Any) -> None:
    import numpy as np
    from gguf.quants import quant_shape_to_byte_shape

    kind, data = _kind(tensor), tensor.data
    shape, dtype = data.shape, data.dtype
    if kind != tensor.tensor_type:
        weights = tuple(int(length) for length in reversed(tensor.shape))
        shape, dtype = quant_shape_to_byte_shape(weights, kind), np.dtype(np.uint8)
    size = int(np.prod(shape)) * dtype.itemsize
    writer.add_tensor_info(tensor.name, shape, dtype, size, kind)


def _merged(tensor: Any, pair: Pair | None) -> Any:
    """The tensor as it is written."""
    from gguf.quants import dequantize, quantize

    kind = _kind(tensor)
    if pair is None and kind == tensor.tensor_type:
        return tensor.data
    weight = dequantize(tensor.data, tensor.tensor_type)
    if pair is not None:
        weight = weight + pair.scale * (pair.b @ pair.a)
    return quantize(weight, kind)
