"""The head of a GGUF file: what it says of itself, without its tensors.

The layout is that of ggml-org/ggml, docs/gguf.md. The package `gguf` reads it as well; it makes an
array of each of the tokenizer's strings, which takes seconds for the vocabulary of a small model,
and belongs to the extra that trains. What is read here tells what is served, on any machine.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""The types of a value by the number of the format, as `struct` names them."""
FILE_TYPES: Mapping[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    32: "BF16",
}
"""`general.file_type` in words: enum llama_ftype of llama.h, as Ollama prints it too."""


@dataclass(frozen=True, slots=True)
class GgufHead:
    """What a GGUF says of itself.

    Attributes:
        values: all keys with their values; an array is a list.
    """

    path: Path
    values: Mapping[str, Any]

    @property
    def file_type(self) -> str | None:
        """How most of its weights are kept, "Q4_K_M"; None where it does not say."""
        kind = self.values.get("general.file_type")
        return None if kind is None else FILE_TYPES.get(kind, str(kind))

    @property
    def is_adapter(self) -> bool:
        """Whether it is a LoRA adapter and not a model."""
        return bool(self.values.get("general.type") == "adapter")

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that puts a conversation into one text."""
        return self.values.get("tokenizer.chat_template")

    def token(self, role: str) -> str | None:
        """The text of a special token, role "bos", "eos" or "eot"; None where there is none."""
        number = self.values.get(f"tokenizer.ggml.{role}_token_id")
        tokens = self.values.get("tokenizer.ggml.tokens", [])
        return tokens[number] if number is not None and number < len(tokens) else None

    @property
    def end_of_turn(self) -> str | None:
        """What ends an answer: the end of the turn where it has its own token, else of the text."""
        return self.token("eot") or self.token("eos")


def read_head(path: Path) -> GgufHead:
    """Read the head of `path`.

    Raises:
        InputError: it is not there, no GGUF, or cut off within its head.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return GgufHead(path, _Reader(data).head())
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror or exc}", where=str(path)) from exc
    except (ValueError, struct.error, KeyError) as exc:
        raise InputError(
            f"is no GGUF file that can be read ({exc})",
            where=str(path),
            hint="Make it again: `/finetune gguf` writes it.",
        ) from exc


class _Reader:
    """Reads value by value; byte order is little, which all that write it keep to."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def head(self) -> dict[str, Any]:
        if self._bytes(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version, _, count = self._unpack("IQQ")
        if version not in VERSIONS:
            raise ValueError(f"version {version}")
        return {self._string(): self._value(self._unpack("I")[0]) for _ in range(count)}

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._unpack(SCALARS[kind])[0]
        inner, length = self._unpack("IQ")
        if inner in SCALARS:
            return list(self._unpack(f"{length}{SCALARS[inner]}"))
        read: Callable[[], Any] = self._string if inner == STRING else lambda: self._value(inner)
        return [read() for _ in range(length)]

    def _string(self) -> str:
        return self._bytes(self._unpack("Q")[0]).decode("utf-8", "replace")

    def _unpack(self, form: str) -> tuple[Any, ...]:
        form = f"<{form}"
        return struct.unpack(form, self._bytes(struct.calcsize(form)))

    def _bytes(self, length: int) -> bytes:
        if self._at + length > len(self._data):
            raise ValueError("it ends within its head")
        found = self._data[self._at : self._at + length]
        self._at += length
        return found
