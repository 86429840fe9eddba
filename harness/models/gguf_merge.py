"""Merge a LoRA adapter into its base once: one GGUF is served faster than two.

    W' = W + (alpha / r) B A        for each weight W with a pair in the adapter (Hu et al. 2021)

Both files are llama.cpp's, so the sum is the one its engine would compute from base and adapter
(the rows of query and key are permuted in both). It is computed in float32. All matrices are
written as Q8_0, which has faster kernels on a CPU than smaller types and is close enough to the sum
that the text hardly changes. Neither torch nor the finetune extra is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ModelUnavailable
from harness.models.gguf_file import GgufFile, open_gguf

VERSION = 1
"""Version of the output format: files of another version are merged again."""
BLOCK = 32
"""Weights of a row that share a scale in Q8_0. Tensors with other row lengths are copied."""


class Pair(NamedTuple):
    """The matrices of an adapter for one weight: A of r x in, B of out x r, and alpha / r."""

    a: Any
    b: Any
    scale: float


def merge(
    base: Path, adapter: Path, target: Path, tick: Callable[[str], None] = lambda _: None
) -> None:
    """Write the merged model to `target`, which may be incomplete if this raises.

    Args:
        tick: receives the progress, "40%".

    Raises:
        ModelUnavailable: a file is not a GGUF, the adapter does not fit the base, or the base has
            a tensor type that cannot be converted.
        OSError: the file cannot be written.
    """
    from gguf import GGUFWriter

    model, pairs = open_gguf(base, ModelUnavailable), lora_pairs(adapter)
    _check(model, pairs, adapter)
    if (architecture := model.values.get("general.architecture")) is None:
        raise ModelUnavailable("names no architecture", where=str(base))
    writer = GGUFWriter(target, architecture)
    writer.data_alignment = model.alignment
    try:
        _copy_metadata(model, writer)
        for tensor in model.tensors:
            _add_tensor_info(writer, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, tensor in enumerate(model.tensors):
            tick(f"{number / len(model.tensors):.0%}")
            writer.write_tensor_data(_merged(tensor, pairs.get(tensor.name)))
    except (ValueError, NotImplementedError) as exc:
        raise ModelUnavailable(f"cannot be merged: {exc}", where=str(base)) from exc
    finally:
        writer.close()


def lora_pairs(path: Path) -> dict[str, Pair]:
    """Return the matrices of a GGUF LoRA adapter by weight name, in float32.

    Raises:
        ModelUnavailable: it is not a LoRA adapter.
    """
    from gguf.quants import dequantize

    adapter = open_gguf(path, ModelUnavailable)
    alpha = adapter.values.get("adapter.lora.alpha")
    if alpha is None:
        raise ModelUnavailable("this GGUF is not a LoRA adapter", where=str(path))
    halves: dict[str, dict[str, Any]] = {}
    for tensor in adapter.tensors:
        name, _, half = tensor.name.rpartition(".lora_")
        try:
            halves.setdefault(name, {})[half] = dequantize(tensor.data, tensor.tensor_type)
        except (ValueError, NotImplementedError) as exc:
            raise ModelUnavailable(f"{tensor.name} cannot be read: {exc}", where=str(path)) from exc
    pairs = {}
    for name, both in halves.items():
        if both.keys() != {"a", "b"} or not _is_pair(both["a"], both["b"]):
            raise ModelUnavailable(f"the adapter has no pair for {name!r}", where=str(path))
        pairs[name] = Pair(both["a"], both["b"], float(alpha) / len(both["a"]))
    return pairs


def _is_pair(a: Any, b: Any) -> bool:
    return bool(a.ndim == b.ndim == 2 and len(a) == b.shape[1] > 0)


def _check(model: GgufFile, pairs: Mapping[str, Pair], adapter: Path) -> None:
    """Raise ModelUnavailable if a pair has no weight of its shape in the base."""
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in model.tensors}
    for name, pair in pairs.items():
        shape = pair.a.shape[1], pair.b.shape[0]
        if shapes.get(name) != shape:
            raise ModelUnavailable(
                f"the adapter changes {name} of {shape}, and the base {model.path.name} has "
                f"{shapes.get(name, 'none')}",
                where=str(adapter),
                hint="It was trained on another base.",
            )


def _copy_metadata(model: GgufFile, writer: Any) -> None:
    """Copy all metadata except what the writer adds, and set the file type."""
    from gguf import GGUFValueType, LlamaFileType

    for name, value in model.values.items():
        types = model.types[name]
        if name in ("general.architecture", "general.file_type"):
            continue
        if types[0] == GGUFValueType.ARRAY and not value:
            continue  # the writer cannot write empty lists
        writer.add_key_value(name, value, types[0], types[1] if len(types) > 1 else None)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)


def _type(tensor: Any) -> Any:
    """Return the type that a tensor is written as."""
    from gguf import GGMLQuantizationType

    is_matrix = len(tensor.shape) == 2 and tensor.shape[0] % BLOCK == 0
    return GGMLQuantizationType.Q8_0 if is_matrix else tensor.tensor_type


def _add_tensor_info(writer: Any, tensor: Any) -> None:
    import numpy as np
    from gguf.quants import quant_shape_to_byte_shape

    kind, data = _type(tensor), tensor.data
    shape, dtype = data.shape, data.dtype
    if kind != tensor.tensor_type:
        weights = tuple(int(length) for length in reversed(tensor.shape))
        shape, dtype = quant_shape_to_byte_shape(weights, kind), np.dtype(np.uint8)
    size = int(np.prod(shape)) * dtype.itemsize
    writer.add_tensor_info(tensor.name, shape, dtype, size, kind)


def _merged(tensor: Any, pair: Pair | None) -> Any:
    """Return the data of a tensor as it is written."""
    from gguf.quants import dequantize, quantize

    kind = _type(tensor)
    if pair is None and kind == tensor.tensor_type:
        return tensor.data
    weight = dequantize(tensor.data, tensor.tensor_type)
    if pair is not None:
        weight = weight + pair.scale * (pair.b @ pair.a)
    return quantize(weight, kind)
