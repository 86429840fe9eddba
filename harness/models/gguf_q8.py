"""Write a model as a GGUF with matrices of type Q8_0, which has the fastest kernels on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import ModelUnavailable
from harness.models.gguf_file import GgufFile

BLOCK = 32
"""Weights of a row that share a scale in Q8_0. Tensors with other row lengths are copied."""


def write(
    model: GgufFile,
    target: Path,
    *,
    values: Mapping[str, Any] | None = None,
    tensors: Callable[[str], bool] = lambda _: True,
    changes: Mapping[str, Callable[[Any], Any]] | None = None,
    tick: Callable[[str], None] = lambda _: None,
) -> None:
    """Write a model to `target`, which may be incomplete if this raises.

    Args:
        values: metadata that replaces the model's.
        tensors: returns whether the tensor of a name is written.
        changes: by tensor name, a function of the weights in float32 that returns those to write.
        tick: receives the progress, "40%".

    Raises:
        ModelUnavailable: the model has a tensor type that cannot be converted.
        OSError: the file cannot be written.
    """
    from gguf import GGUFWriter

    if (architecture := model.values.get("general.architecture")) is None:
        raise ModelUnavailable("names no architecture", where=str(model.path))
    kept, changes = [one for one in model.tensors if tensors(one.name)], changes or {}
    writer = GGUFWriter(target, architecture)
    writer.data_alignment = model.alignment
    try:
        _copy_metadata(model, writer, values or {})
        for tensor in kept:
            _add_tensor_info(writer, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, tensor in enumerate(kept):
            tick(f"{number / len(kept):.0%}")
            writer.write_tensor_data(_data(tensor, changes.get(tensor.name)))
    except (ValueError, NotImplementedError) as exc:
        raise ModelUnavailable(f"cannot be converted: {exc}", where=str(model.path)) from exc
    finally:
        writer.close()


def _copy_metadata(model: GgufFile, writer: Any, values: Mapping[str, Any]) -> None:
    """Copy all metadata except what the writer adds, and set the file type."""
    from gguf import GGUFValueType, LlamaFileType

    for name, value in {**model.values, **values}.items():
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


def _data(tensor: Any, change: Callable[[Any], Any] | None) -> Any:
    """Return the data of a tensor as it is written."""
    from gguf.quants import dequantize, quantize

    kind = _type(tensor)
    if change is None and kind == tensor.tensor_type:
        return tensor.data
    weights = dequantize(tensor.data, tensor.tensor_type)
    return quantize(weights if change is None else change(weights), kind)
