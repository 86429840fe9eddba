"""Read the names, types and shapes of the tensors of a model, without their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ValidationError

from harness.errors import InputError, first_error
from harness.support.bounded_files import MAX_JSON_BYTES, read_bytes

FLOATS = frozenset({"BF16", "F16", "F32"})
"""The types of weights into which an adapter can be merged."""
PACKED = frozenset({"U8", "I8", "F8_E4M3", "F8_E5M2"})
"""The types of quantized weights."""
AS_SAVED = "A base is a folder as transformers saves a model, with its weights as .safetensors."


class Stored(NamedTuple):
    """The type and shape of a tensor in a file."""

    dtype: str
    shape: tuple[int, ...]


def _file_name(name: str) -> str:
    if not name or "/" in name or "\\" in name:
        raise ValueError(f"{name!r} is not the name of a file")
    return name


class _Index(BaseModel):
    """The contents of model.safetensors.index.json: for each tensor, a file in the same folder."""

    weight_map: dict[str, Annotated[str, AfterValidator(_file_name)]]


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
        """The number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())


def read_weights(folder: Path, hint: str = AS_SAVED) -> Weights:
    """Return the weight files of a model that transformers saved, and their tensors.

    Only the headers of the files are read.

    Args:
        hint: the hint of the error for a missing or damaged file.

    Raises:
        InputError: a file is missing, damaged or truncated.
    """
    names = {"model.safetensors"}
    path = index = folder / "model.safetensors.index.json"
    tensors: dict[str, Stored] = {}
    try:
        if index.is_file():
            text = read_bytes(index, MAX_JSON_BYTES)
            names = set(_Index.model_validate_json(text).weight_map.values())
        for name in sorted(names):
            path = folder / name
            if not path.is_file():
                raise InputError(f"has no {name}", where=str(folder), hint=hint)
            tensors |= read_header(path)
    except (OSError, ValueError) as exc:
        reason = first_error(exc) if isinstance(exc, ValidationError) else exc
        raise InputError(f"is damaged or truncated ({reason})", where=str(path), hint=hint) from exc
    return Weights(tuple(folder / name for name in sorted(names)), tensors)


def read_header(path: Path) -> dict[str, Stored]:
    """Return the type and the shape of each tensor in a .safetensors file, by tensor name.

    Raises:
        ValueError: the file is damaged or truncated.
        OSError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as exc:
        raise ValueError(str(exc)) from exc
    return {name: Stored(one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
