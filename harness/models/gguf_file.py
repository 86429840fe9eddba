"""Read a GGUF file: its metadata and its tensors, on the `gguf` package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError


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

    `GGUFReader` creates a NumPy array for every token and merge of a vocabulary, which takes
    seconds; the subclass reads an array of metadata in one pass.

    Args:
        error: the class of the error to raise.

    Raises:
        HarnessError: `path` is missing, not a GGUF, or truncated; of the class `error`.
    """
    import numpy as np
    from gguf import GGUFReader, GGUFValueType

    class Reader(GGUFReader):
        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            inner, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
            kind, start = GGUFValueType(inner[0]), orig_offs + 12
            elements: list[Any]
            if kind == GGUFValueType.STRING:
                elements, end = _strings(self.data.data, start, int(count[0]))
            else:
                found = self._get(start, self.gguf_scalar_to_np[kind], count[0])
                elements, end = found.tolist(), start + found.nbytes
            return end - orig_offs, [inner, count, elements], [2], [GGUFValueType.ARRAY, kind]

    try:
        reader = Reader(path)
        fields = {name: field for name, field in reader.fields.items() if name[:5] != "GGUF."}
        values = {
            name: field.parts[field.data[0]]
            if field.types[0] == GGUFValueType.ARRAY
            else field.contents()
            for name, field in fields.items()
        }
    except OSError as exc:
        raise error(f"cannot be read: {exc.strerror or exc}", where=str(path)) from exc
    except (ValueError, IndexError, KeyError) as exc:
        raise error(f"cannot be read as GGUF: {exc}", where=str(path)) from exc
    types = {name: field.types for name, field in fields.items()}
    return GgufFile(path, values, types, reader.tensors, int(reader.alignment))


def _strings(data: memoryview, at: int, count: int) -> tuple[list[str], int]:
    """Return `count` strings, each 8 bytes of length and its bytes, and the offset after them."""
    found = []
    for _ in range(count):
        start = at + 8
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data):
            raise ValueError("the file is truncated")
        found.append(bytes(data[start:at]).decode("utf-8", "replace"))
    return found, at
