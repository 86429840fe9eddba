"""Read a GGUF file: its metadata and its tensors, on the `gguf` package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError

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
"""The types of the keys that this program uses."""


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The metadata and the tensors of a GGUF.

    Attributes:
        values: the metadata; an array is a list.
        types: for each key, the `GGUFValueType` of its value; for an array followed by that of
            its elements.
        tensors: `gguf.gguf_reader.ReaderTensor` objects, whose data is mapped and not read.
        alignment: of the tensors, in bytes.
    """

    path: Path
    values: Mapping[str, Any]
    types: Mapping[str, Sequence[Any]]
    tensors: Sequence[Any] = ()
    alignment: int = 32

    @property
    def file_type(self) -> str | None:
        """The type of most weights, such as "Q4_K_M"; None if the file does not name it."""
        from gguf import LlamaFileType

        kind = self.values.get("general.file_type")
        if kind is None or kind not in {known.value for known in LlamaFileType}:
            return None if kind is None else str(kind)
        return LlamaFileType(kind).name.removeprefix("MOSTLY_").removeprefix("ALL_")

    @property
    def is_adapter(self) -> bool:
        """True if it is a LoRA adapter and not a model."""
        return bool(self.values.get("general.type") == "adapter")

    @property
    def chat_template(self) -> str | None:
        """The Jinja chat template."""
        return self.values.get("tokenizer.chat_template")

    def token(self, role: str) -> str | None:
        """Return the text of the special token of `role` ("bos", "eos", "eot"), or None."""
        number = self.values.get(f"tokenizer.ggml.{role}_token_id")
        tokens = self.values.get("tokenizer.ggml.tokens", [])
        return tokens[number] if number is not None and number < len(tokens) else None

    @property
    def end_of_turn(self) -> str | None:
        """The token that ends an answer: "eot" if there is one, else "eos"."""
        return self.token("eot") or self.token("eos")

    @property
    def tensor_types(self) -> dict[str, int]:
        """The number of tensors of each type, such as "Q4_K", in descending order."""
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
    """Open a GGUF.

    Args:
        error: the class of the error to raise.

    Raises:
        HarnessError: `path` is missing, not a GGUF, or truncated; of the class `error`.
    """
    from harness.models.gguf_reader import read_checked

    try:
        reader = read_checked(path)
        fields = {name: field for name, field in reader.fields.items() if name[:5] != "GGUF."}
        values = {name: _value(name, field) for name, field in fields.items()}
    except OSError as exc:
        raise error(f"cannot be read: {exc.strerror or exc}", where=str(path)) from exc
    except (ValueError, IndexError, KeyError, ArithmeticError) as exc:
        raise error(f"cannot be read as GGUF: {exc}", where=str(path)) from exc
    types = {name: field.types for name, field in fields.items()}
    return GgufFile(path, values, types, reader.tensors, int(reader.alignment))


def _value(name: str, field: Any) -> Any:
    from gguf import GGUFValueType

    is_array = field.types[0] == GGUFValueType.ARRAY
    value = field.parts[field.data[0]] if is_array else field.contents()
    if name in TYPES and not isinstance(value, TYPES[name]):
        raise ValueError(f"{name} is {str(value)[:40]!r}")
    return value
