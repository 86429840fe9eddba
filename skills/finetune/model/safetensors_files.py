"""Find tensors in safetensors files, and overwrite a tensor in place.

A merged model has the tensor names, shapes and types of its base. So its files are copies of the
base's files in which some tensors are overwritten, and only one tensor is in memory at a time.

The format (huggingface/safetensors, README): the number N in 8 bytes, little endian; N bytes of
JSON with dtype, shape and offsets of each tensor; the data of the tensors, to which the offsets
refer.
"""

from __future__ import annotations

import json
import operator
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.support.bounded_files import read_json

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = {"BF16": 2, "F16": 2, "F32": 4}
"""The types into which an adapter can be merged, with the bytes of a value."""
PACKED = frozenset({"U8", "I8", "F8_E4M3", "F8_E5M2"})
"""The types of quantized weights."""
LONGEST = 100_000_000
"""Maximum size of a header in bytes, as in the library of the format."""
AS_SAVED = "A base is a folder as transformers saves a model, with its weights as .safetensors."


@dataclass(frozen=True, slots=True)
class Stored:
    """The place of a tensor in a file; `start` and `end` are byte offsets in the file."""

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
    """The tensors in a model folder, by name, and their files."""

    files: tuple[Path, ...]
    tensors: Mapping[str, Stored]

    @property
    def size(self) -> int:
        """The size of the files in bytes."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def count(self) -> int:
        """The number of weights; the bytes of an unknown type are counted as 16-bit weights."""
        return sum(
            (tensor.end - tensor.start) // FLOATS.get(tensor.dtype, 2)
            for tensor in self.tensors.values()
        )

    def copied(self, folder: Path) -> Weights:
        """Copy the files to another folder, and return the tensors in the copies."""
        for path in self.files:
            shutil.copyfile(path, folder / path.name)
        return Weights(
            tuple(folder / path.name for path in self.files),
            {
                name: replace(tensor, path=folder / tensor.path.name)
                for name, tensor in self.tensors.items()
            },
        )


def read_weights(folder: Path, hint: str = AS_SAVED) -> Weights:
    """Read the headers of the weight files of a model that transformers saved.

    Args:
        hint: the hint of the error for a missing or damaged file.

    Raises:
        InputError: a file is missing, damaged or truncated.
    """
    names = {"model.safetensors"}
    index = folder / "model.safetensors.index.json"
    tensors: dict[str, Stored] = {}
    path = index
    try:
        if index.is_file():
            names = _names_in(index)
        for name in sorted(names):
            path = folder / name
            if not path.is_file():
                raise InputError(f"has no {name}", where=str(folder), hint=hint)
            tensors |= read_header(path)
    except (OSError, ValueError, KeyError) as exc:
        raise InputError(f"is damaged or truncated ({exc})", where=str(path), hint=hint) from exc
    return Weights(tuple(folder / name for name in sorted(names)), tensors)


def _names_in(index: Path) -> set[str]:
    """Return the names of the weight files that an index lists.

    Raises:
        ValueError: the index is damaged, or names a file in another folder.
    """
    try:
        names = set(read_json(index)["weight_map"].values())
    except (RecursionError, TypeError, AttributeError) as exc:
        raise ValueError(f"the index is invalid: {exc!r}") from exc
    if wrong := [name for name in names if not isinstance(name, str) or Path(name).name != name]:
        raise ValueError(f"{wrong[0]!r} is not the name of a file")
    return names


def read_header(path: Path) -> dict[str, Stored]:
    """Read the header of a .safetensors file.

    Raises:
        ValueError: the file is damaged or truncated.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size:
            raise ValueError("the header is incomplete")
        if length > LONGEST:
            raise ValueError(f"the header is longer than {LONGEST / 1e6:.0f} MB")
        text = file.read(length)
    try:
        tensors = {
            name: Stored(
                path,
                name,
                tensor["dtype"],
                tuple(map(operator.index, tensor["shape"])),
                8 + length + operator.index(tensor["data_offsets"][0]),
                8 + length + operator.index(tensor["data_offsets"][1]),
            )
            for name, tensor in json.loads(text).items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        raise ValueError(f"the header is invalid: {exc!r}") from exc
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if not end == tensor.start <= tensor.end:
            raise ValueError(f"{tensor.name} overlaps another tensor, or leaves a gap")
        end = tensor.end
    if end != size:
        raise ValueError(f"{size} bytes instead of {end}")
    return tensors


def put(place: Stored, tensor: Tensor) -> None:
    """Overwrite a tensor in its file with a tensor of the same shape and type."""
    import torch

    raw = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    assert raw.size == place.end - place.start, place.name
    with place.path.open("r+b") as file:
        file.seek(place.start)
        file.write(raw.data)
