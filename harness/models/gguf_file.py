"""Read GGUF files, and merge a base with a LoRA adapter into a file of Q8_0 matrices.

A single file is served faster than a base with an adapter, so the two files are merged once:

    W' = W + (alpha / r) B A    for each matrix W with a pair A, B in the adapter (Hu et al. 2021)

Both files store the rows of query and key in the order of llama.cpp, so W' equals the weights that
llama.cpp computes from base and adapter. The sum is computed in float32. Matrices are written as
Q8_0, which has faster kernels on a CPU than smaller types, and is so precise that texts hardly
change. The merge needs neither torch nor the finetune extra.

`gguf.GGUFReader` takes seconds to read a file, since it creates a NumPy array for every token and
every merge rule of the vocabulary. It returns incomplete values at the end of a truncated file, and
has no limits, so that a sparse file may fill the memory. Therefore files are read with
`CheckedReader`. Import this module only where a file is read, since this module imports NumPy.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    GGMLQuantizationType,
    GGUFReader,
    GGUFValueType,
    GGUFWriter,
    LlamaFileType,
)
from gguf.quants import dequantize, quantize

from harness.errors import HarnessError, InputError, ModelUnavailable

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "general.architecture": str,
    "general.file_type": int,
    "tokenizer.chat_template": str,
    "tokenizer.ggml.tokens": list,
    "tokenizer.ggml.bos_token_id": int,
    "tokenizer.ggml.eos_token_id": int,
    "tokenizer.ggml.eot_token_id": int,
    "adapter.lora.alpha": (int, float),
}
"""The required types of the metadata values that this program uses."""


BLOCK = 32
"""Number of weights that share a scale in Q8_0. A matrix whose row length is not a multiple of this
number keeps its type.
"""
LONGEST = 64 << 20
"""Maximum size in bytes of the metadata; a vocabulary of 262,144 tokens takes 15 MB."""
MOST = 1 << 16
"""Maximum number of keys, and maximum number of tensors."""


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The metadata and the tensors of a GGUF.

    Attributes:
        values: the metadata; an array is a list.
        types: for each key of `values`, a list with the `GGUFValueType` of the value. For an array,
            the second item of this list is the type of the elements.
        tensors: `gguf.gguf_reader.ReaderTensor` objects, whose data is mapped, but not read.
        alignment: the alignment of the tensors in bytes.
    """

    path: Path
    values: Mapping[str, Any]
    types: Mapping[str, Sequence[Any]]
    tensors: Sequence[Any] = ()
    alignment: int = 32

    @property
    def file_type(self) -> str | None:
        """The type of most weights, such as "Q4_K_M"; None if the file does not state the type.

        A type that is unknown to the package `gguf` is returned as its number.
        """
        kind = self.values.get("general.file_type")
        if kind is None or kind not in {known.value for known in LlamaFileType}:
            return None if kind is None else str(kind)
        return LlamaFileType(kind).name.removeprefix("MOSTLY_").removeprefix("ALL_")

    @property
    def is_adapter(self) -> bool:
        """True if the file is a LoRA adapter, False if it is a model."""
        return bool(self.values.get("general.type") == "adapter")

    @property
    def chat_template(self) -> str | None:
        """The chat template in Jinja, or None if the file has no chat template."""
        return self.values.get("tokenizer.chat_template")

    def token(self, role: str) -> str | None:
        """Return the text of a special token, or None if the file does not define the token.

        Args:
            role: "bos" for the beginning of a text, "eos" for its end, "eot" for the end of a turn.
        """
        number = self.values.get(f"tokenizer.ggml.{role}_token_id")
        tokens = self.values.get("tokenizer.ggml.tokens", [])
        return tokens[number] if number is not None and 0 <= number < len(tokens) else None

    @property
    def end_of_turn(self) -> str | None:
        """The text of the token that ends an answer: "eot", or else "eos", or else None."""
        return self.token("eot") or self.token("eos")

    @property
    def tensor_types(self) -> dict[str, int]:
        """The number of tensors by type, such as {"Q4_K": 120}; the most frequent type is first."""
        return dict(Counter(tensor.tensor_type.name for tensor in self.tensors).most_common())

    @property
    def weights(self) -> int:
        """The number of weights in all tensors."""
        return sum(int(tensor.n_elements) for tensor in self.tensors)

    @property
    def tensor_bytes(self) -> int:
        """The size of all tensors in bytes."""
        return sum(int(tensor.n_bytes) for tensor in self.tensors)


def open_gguf(path: Path, error: type[HarnessError] = InputError) -> GgufFile:
    """Open a GGUF, and return its metadata and tensors; the tensors are mapped, but not read.

    Args:
        error: the class of the errors that this function raises.

    Raises:
        HarnessError: `path` is missing, not a GGUF, or truncated; the class of the error is
            `error`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is not a regular file")
        with np.errstate(over="raise"):
            reader = CheckedReader(path)
        if sum(int(tensor.n_bytes) for tensor in reader.tensors) > len(reader.data):
            raise ValueError("its tensors are larger than the file")
        fields = {name: field for name, field in reader.fields.items() if name[:5] != "GGUF."}
        values = {
            name: field.parts[field.data[0]] if _is_array(field.types) else field.contents()
            for name, field in fields.items()
        }
        for name in TYPES.keys() & values.keys():
            if not isinstance(values[name], TYPES[name]):
                raise ValueError(f"{name} is {str(values[name])[:40]!r}")
    except OSError as exc:
        raise error(f"cannot be read: {exc.strerror or exc}", where=str(path)) from exc
    except (ValueError, IndexError, KeyError, ArithmeticError) as exc:
        raise error(f"cannot be read as GGUF: {exc}", where=str(path)) from exc
    types = {name: field.types for name, field in fields.items()}
    return GgufFile(path, values, types, reader.tensors, int(reader.alignment))


class CheckedReader(GGUFReader):
    """A reader that checks every length, and returns the arrays of the metadata as lists."""

    _limit = LONGEST

    def _check(self, end: int) -> None:
        if end > len(self.data):
            raise ValueError("the file is truncated")
        if end > self._limit:
            raise ValueError(f"its metadata is longer than {LONGEST >> 20} MB")

    def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **named: Any) -> Any:
        self._check(offset + np.dtype(dtype).itemsize * int(count))
        return super()._get(offset, dtype, count, *rest, **named)

    def _build_fields(self, offs: int, count: int) -> int:
        return int(super()._build_fields(offs, _few(count, "keys")))

    def _build_tensor_info(self, offs: int, count: int) -> Any:
        return super()._build_tensor_info(offs, _few(count, "tensors"))

    def _build_tensors(self, start_offs: int, fields: Any) -> None:
        self._limit = len(self.data)
        super()._build_tensors(start_offs, fields)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        inner, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
        kind, start = GGUFValueType(inner[0]), orig_offs + 12
        elements: list[Any]
        if kind == GGUFValueType.ARRAY:
            raise ValueError("it has an array of arrays")
        if kind == GGUFValueType.STRING:
            elements, end = self._strings(start, int(count[0]))
        else:
            found = self._get(start, self.gguf_scalar_to_np[kind], count[0])
            elements, end = found.tolist(), start + found.nbytes
        return end - orig_offs, [inner, count, elements], [2], [GGUFValueType.ARRAY, kind]

    def _strings(self, at: int, count: int) -> tuple[list[str], int]:
        """Return `count` strings that begin at offset `at`, and the offset after the last string.

        Each string is preceded by its length in 8 bytes.
        """
        self._check(at + 8 * count)
        data, end = self.data.data, min(len(self.data), self._limit)
        found = []
        for _ in range(count):
            start = at + 8
            at = start + int.from_bytes(data[at:start], "little")
            if at > end:
                self._check(at)
            found.append(bytes(data[start:at]).decode("utf-8", "replace"))
        return found, at


def _few(count: int, what: str) -> int:
    if count > MOST:
        raise ValueError(f"it has {count:,} {what}, and at most {MOST:,} are read")
    return count


class Pair(NamedTuple):
    """The LoRA matrices of one weight, A (r x in) and B (out x r), and the factor alpha / r."""

    a: Any
    b: Any
    scale: float


def lora_pairs(path: Path) -> dict[str, Pair]:
    """Return the float32 matrices of a GGUF LoRA adapter, by the name of the adapted weight.

    Raises:
        ModelUnavailable: the file is not a complete LoRA adapter.
    """
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
        a, b = both.get("a"), both.get("b")
        if len(both) != 2 or a is None or b is None or not a.ndim == b.ndim == 2:
            raise ModelUnavailable(f"the adapter has no pair for {name!r}", where=str(path))
        if not len(a) == b.shape[1] > 0:
            raise ModelUnavailable(f"the pair for {name!r} does not fit together", where=str(path))
        pairs[name] = Pair(a, b, float(alpha) / len(a))
    return pairs


def merge_adapter(
    base: Path, adapter: Path, target: Path, tick: Callable[[str], None] = lambda _: None
) -> None:
    """Merge a base with an adapter, and write the merged model to `target`.

    After an error, `target` may be incomplete.

    Args:
        tick: called before each tensor with the share of written tensors, such as "40%".

    Raises:
        ModelUnavailable: a file is not a GGUF, the adapter does not fit the base, or the base has
            a tensor type that cannot be converted.
        OSError: `target` cannot be written.
    """
    model, pairs = open_gguf(base, ModelUnavailable), lora_pairs(adapter)
    _check_fit(model, pairs, adapter)
    if (architecture := model.values.get("general.architecture")) is None:
        raise ModelUnavailable("names no architecture", where=str(base))
    writer = GGUFWriter(target, architecture)
    writer.data_alignment = model.alignment
    try:
        for name, value in model.values.items():
            types = model.types[name]
            if name in ("general.architecture", "general.file_type"):
                continue  # the writer adds these keys
            if value or not _is_array(types):  # the writer cannot write empty lists
                writer.add_key_value(name, value, types[0], types[1] if len(types) > 1 else None)
        writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
        for tensor in model.tensors:
            kind = _written_type(tensor)
            weights_per_block, bytes_per_block = GGML_QUANT_SIZES[kind]
            size = int(tensor.n_elements) // weights_per_block * bytes_per_block
            shape = [int(length) for length in reversed(tensor.shape)]
            # The data type of NumPy has no effect, since the type of the tensor is given.
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), size, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, tensor in enumerate(model.tensors):
            tick(f"{number / len(model.tensors):.0%}")
            writer.write_tensor_data(_written_data(tensor, pairs.get(tensor.name)))
    except (ValueError, NotImplementedError) as exc:
        raise ModelUnavailable(f"cannot be converted: {exc}", where=str(base)) from exc
    finally:
        writer.close()


def _check_fit(model: GgufFile, pairs: Mapping[str, Pair], adapter: Path) -> None:
    """Raise ModelUnavailable if the base lacks a weight of the adapter, or the shapes differ."""
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in model.tensors}
    for name, pair in pairs.items():
        shape = pair.a.shape[1], pair.b.shape[0]
        if shapes.get(name) != shape:
            raise ModelUnavailable(
                f"the adapter changes {name} of {shape}, and the base {model.path.name} has "
                f"{shapes.get(name, 'none')}",
                where=str(adapter),
                hint="The adapter was trained on another base.",
            )


def _written_type(tensor: Any) -> Any:
    """Return the type in which a tensor is written.

    The type is Q8_0 for a matrix whose row length is a multiple of `BLOCK`. Other tensors keep
    their type.
    """
    is_matrix = len(tensor.shape) == 2 and tensor.shape[0] % BLOCK == 0
    return GGMLQuantizationType.Q8_0 if is_matrix else tensor.tensor_type


def _written_data(tensor: Any, pair: Pair | None) -> Any:
    """Return the data of a tensor, changed by the adapter, in the type from `_written_type`.

    Args:
        pair: the LoRA matrices for the tensor; None if the adapter does not change the tensor.
    """
    kind = _written_type(tensor)
    if pair is None and kind == tensor.tensor_type:
        return tensor.data
    weights = dequantize(tensor.data, tensor.tensor_type)
    return quantize(weights if pair is None else weights + pair.scale * (pair.b @ pair.a), kind)


def _is_array(types: Sequence[Any]) -> bool:
    """Return True if `types`, one of the lists in `GgufFile.types`, describes an array."""
    return bool(types[0] == GGUFValueType.ARRAY)
