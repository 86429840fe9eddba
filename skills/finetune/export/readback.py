"""What a GGUF says once it is written: whether it is still the base's model, and how it is kept.

A converter that loses the template, takes another end token or splits words otherwise makes a file
that loads and answers, only worse: llama.cpp #7062, ollama #17939. So every file is read back.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, SkillFailed
from skills.finetune.model.folder import chat_template, end_tokens

TEMPLATE = "tokenizer.chat_template"
EOS = "tokenizer.ggml.eos_token_id"
TOKENS = "tokenizer.ggml.tokens"
KEYS = (
    "general.architecture",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.bos_token_id",
    EOS,
    "tokenizer.ggml.add_bos_token",
    TEMPLATE,
    TOKENS,
)
"""What a model shares with its base. Of the template and the tokens it is the sha256."""


@dataclass(frozen=True, slots=True)
class Readback:
    """What a GGUF says of itself.

    Attributes:
        identity: the values of `KEYS`; None for what it does not say.
        types: tensors by the type they are kept in, "Q4_K", most first.
        weights: numbers in all tensors.
        tensor_bytes: bytes of the tensors alone.
        extra: the values of the other keys that were asked for.
    """

    path: Path
    identity: Mapping[str, Any]
    types: Mapping[str, int]
    weights: int
    tensor_bytes: int
    extra: Mapping[str, Any]

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.tensor_bytes / self.weights if self.weights else 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            **self.identity,
            "types": dict(self.types),
            "weights": self.weights,
            "bits_per_weight": round(self.bits_per_weight, 3),
            "bytes": self.path.stat().st_size,
        }


def read(path: Path, *keys: str) -> Readback:
    """Read a GGUF with llama.cpp's own package.

    Args:
        keys: others that `extra` is to have.

    Raises:
        InputError: it is no GGUF, or damaged.
    """
    try:
        reader = _open(path)
    except (OSError, ValueError, IndexError, KeyError) as exc:
        raise InputError(f"is no GGUF file that can be read: {exc}", where=str(path)) from exc
    tensors = reader.tensors
    return Readback(
        path,
        {key: _value(reader, key) for key in KEYS},
        dict(Counter(tensor.tensor_type.name for tensor in tensors).most_common()),
        sum(int(tensor.n_elements) for tensor in tensors),
        sum(int(tensor.n_bytes) for tensor in tensors),
        {key: _value(reader, key) for key in keys},
    )


def check(found: Readback, expected: Mapping[str, Any], of: str = "the base") -> None:
    """Hold a file against what it was made from.

    Args:
        expected: values of `KEYS`.
        of: who has them.

    Raises:
        SkillFailed: naming the field, and both values.
    """
    for key, value in expected.items():
        if found.identity[key] != value:
            raise SkillFailed(
                f"{key} is {_shown(found.identity[key])}, and {_shown(value)} in {of}",
                where=str(found.path),
                hint="It would answer otherwise than it was trained to. Is the merged model as "
                "`/finetune merge` left it?",
            )


def of_base(reference: Readback, base: Path) -> dict[str, Any]:
    """What a base is: as the converter reads it, held against its files.

    Args:
        reference: of the base's vocabulary, converted.
        base: its folder.

    Raises:
        SkillFailed: the converter has lost its chat template, or takes another end token.
    """
    template = chat_template(base)
    expected: dict[str, Any] = {TEMPLATE: _sha256(template)} if template else {}
    ends = end_tokens(base)
    if ends and reference.identity[EOS] not in ends:
        expected[EOS] = min(ends)
    check(reference, expected, "the files of the base")
    return dict(reference.identity)


def _open(path: Path) -> Any:
    """The package's reader, but for arrays, each of which it leaves as the bytes of one piece.

    Its own way makes an object of every token and merge: 3 s for SmolLM2, on an idle core.
    """
    import numpy as np
    from gguf import GGUFReader, GGUFValueType

    class Reader(GGUFReader):
        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            inner, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
            kind, start = GGUFValueType(inner[0]), orig_offs + 12
            if kind == GGUFValueType.STRING:
                end = _after_strings(self.data.data, start, int(count[0]))
            else:
                end = start + int(count[0]) * np.dtype(self.gguf_scalar_to_np[kind]).itemsize
            pieces = [inner, count, self.data[start:end]]
            return end - orig_offs, pieces, [2], [GGUFValueType.ARRAY, kind]

    return Reader(path)


def _after_strings(data: memoryview, at: int, count: int) -> int:
    """Where so many strings end, each 8 bytes of length and its bytes."""
    for _ in range(count):
        at += 8 + int.from_bytes(data[at : at + 8], "little")
    return at


def _value(reader: Any, key: str) -> Any:
    field = reader.fields.get(key)
    if field is None:
        return None
    if key == TOKENS:
        return hashlib.sha256(field.parts[field.data[0]].tobytes()).hexdigest()
    value = field.contents()
    return _sha256(value) if key == TEMPLATE else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(value: Any) -> str:
    return "not there" if value is None else str(value)[:16]
