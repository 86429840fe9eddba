"""Compare a written GGUF with the base: is it still the same model, and how is it stored?

Converters that lose the template, take another end token or split words differently write files
that load and answer, only worse (llama.cpp #7062, ollama #17939). So every file is read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.models.gguf_file import GgufFile
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
"""The metadata that a model shares with its base."""


def identity_of(gguf: GgufFile) -> dict[str, Any]:
    """Return the values of `KEYS`; of the template and the tokens their SHA-256."""
    found: dict[str, Any] = {key: gguf.values.get(key) for key in KEYS}
    if found[TEMPLATE] is not None:
        found[TEMPLATE] = _sha256(found[TEMPLATE].encode())
    if found[TOKENS] is not None:
        tokens = [token.encode() for token in found[TOKENS]]
        # As the file stores them: each with its length.
        found[TOKENS] = _sha256(b"".join(len(t).to_bytes(8, "little") + t for t in tokens))
    return found


def facts_of(gguf: GgufFile) -> dict[str, Any]:
    """Return the facts of a GGUF for the manifest."""
    weights = gguf.weights
    return {
        **identity_of(gguf),
        "types": gguf.tensor_types,
        "weights": weights,
        "bits_per_weight": round(8 * gguf.tensor_bytes / weights, 3) if weights else 0.0,
        "bytes": gguf.path.stat().st_size,
    }


def check(gguf: GgufFile, expected: Mapping[str, Any], of: str = "the base") -> None:
    """Compare a file with what it was made from.

    Args:
        expected: values of `KEYS`, as `identity_of` returns them.
        of: the model that has these values.

    Raises:
        SkillFailed: with the key and both values.
    """
    identity = identity_of(gguf)
    for key, value in expected.items():
        if identity[key] != value:
            raise SkillFailed(
                f"{key} is {_shown(identity[key])}, and {_shown(value)} in {of}",
                where=str(gguf.path),
                hint="The model would answer differently than it was trained to. Run "
                "`/finetune merge` again if the merged model was changed.",
            )


def check_base(gguf: GgufFile, folder: Path) -> None:
    """Compare a file with the base's own files.

    Raises:
        SkillFailed: the chat template or the end token differs.
    """
    template, ends = chat_template(folder), end_tokens(folder)
    expected: dict[str, Any] = {TEMPLATE: _sha256(template.encode())} if template else {}
    if ends and gguf.values.get(EOS) not in ends:
        expected[EOS] = min(ends)
    check(gguf, expected)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)[:16]
