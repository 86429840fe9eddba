"""Weights in safetensors files: which tensors there are, and one put in another's place.

A merged model has the names, shapes and types of its base, so its files are the base's files but
for the bytes of some tensors. They are copied and those bytes are written over: never more than one
tensor is in memory, whatever the size of the model.

The format (huggingface/safetensors, README): 8 bytes N, little endian; N bytes of JSON that name
each tensor's dtype, shape and offsets into what follows; the tensors.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from skills.finetune.model.folder import weight_files

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = {"BF16": 2, "F16": 2, "F32": 4}
"""The types that can be merged into, with their bytes."""
PACKED = frozenset({"U8", "I8", "F8_E4M3", "F8_E5M2"})
"""The types of weights that were quantized."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file; `start` and `end` are bytes from its beginning."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def read(self) -> Tensor:
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(self.name)
        return tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a model's folder, by name, and the files they are in."""

    files: tuple[Path, ...]
    tensors: Mapping[str, Stored]

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(path.stat().st_size for path in self.files)

    def copied(self, folder: Path) -> Weights:
        """The same files in another folder."""
        for path in self.files:
            shutil.copyfile(path, folder / path.name)
        return Weights(
            tuple(folder / path.name for path in self.files),
            {
                name: replace(tensor, path=folder / tensor.path.name)
                for name, tensor in self.tensors.items()
            },
        )


def read_weights(folder: Path) -> Weights:
    """The tensors of a model that transformers has saved, in one file or in several.

    Raises:
        InputError: there are none, or a file is missing or damaged.
    """
    files = tuple(weight_files(folder))
    tensors: dict[str, Stored] = {}
    for path in files:
        tensors |= {tensor.name: tensor for tensor in _tensors(path)}
    return Weights(files, tensors)


def put(place: Stored, tensor: Tensor) -> None:
    """Write `tensor` where another of its shape and type is stored.

    Raises:
        ValueError: it has another size.
    """
    import torch

    raw = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    if raw.size != place.end - place.start:
        raise ValueError(f"{place.name} has {place.end - place.start} bytes, not {raw.size}")
    with place.path.open("r+b") as file:
        file.seek(place.start)
        file.write(raw.data)


def _tensors(path: Path) -> Iterator[Stored]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("it ends within its head")
            head = json.loads(file.read(length))
        for name, told in head.items():
            if name != "__metadata__":
                start, end = (8 + length + offset for offset in told["data_offsets"])
                if end > size:
                    raise ValueError(f"it ends within {name}")
                yield Stored(path, name, told["dtype"], tuple(told["shape"]), start, end)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InputError(
            f"is no safetensors file that can be read: {exc}",
            where=str(path),
            hint="Fetch the base again.",
        ) from exc
