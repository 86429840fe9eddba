"""A GGUF as a folder of transformers: its weights in 16 bits, its tokenizer, its chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InputError

FORMAT = 1
"""Of the folders that are unpacked; another one is unpacked anew."""
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"})
"""Pre-tokenizers of llama.cpp (src/llama-vocab.cpp) that part every digit from all else first, and
then split as GPT-2 does. transformers 5.24 knows GPT-2's split alone for them."""
PROBES = (
    "In 2024 we saw 1,234.5 of x86, CO2 and H2O (n=312; p<0.05), a 3.5% rise.",
    "Blanks  2 before\n\n3 digits,\ttabs   and   more    .  ",
    "Café naïve 中文 ½ ² Δ→∞ I'll they've it's 'quoted' \"twice\" <annotation>",
)
"""Texts that tokenizers tend to differ in."""


def unpack(gguf: Path, folder: Path) -> None:
    """Write what a GGUF holds into `folder`, as transformers would have saved it, in bfloat16.

    Raises:
        InputError: it is no model that transformers can read.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    unpack_tokenizer(gguf, folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as exc:
        raise _unreadable(gguf, exc) from exc
    model.save_pretrained(folder)


def unpack_tokenizer(gguf: Path, folder: Path) -> None:
    """Write the tokenizer and the chat template of a GGUF into `folder`.

    Raises:
        InputError: it is no model that transformers can read.
    """
    from transformers import AutoTokenizer

    try:
        kind = str(metadata(gguf, "tokenizer.ggml.pre") or "")
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    except (ValueError, KeyError, NotImplementedError) as exc:
        raise _unreadable(gguf, exc) from exc
    if kind in DIGITS_APART:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    tokenizer.save_pretrained(folder)


def metadata(gguf: Path, *names: str) -> Any:
    """The value of the first of these keys that a GGUF has; None if it has none of them.

    Raises:
        ValueError: it is no GGUF.
    """
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    return next((fields[name].contents() for name in names if name in fields), None)


def differing(
    counted: Callable[[Sequence[dict[str, str]]], int],
    expected: Callable[[Sequence[dict[str, str]]], int],
) -> str | None:
    """The first text of `PROBES` that two ways of counting a conversation's tokens differ in."""
    for text in PROBES:
        said = [{"role": "system", "content": "A probe."}, {"role": "user", "content": text}]
        if counted(said) != expected(said):
            return text
    return None


def _unreadable(gguf: Path, exc: Exception) -> InputError:
    words = " ".join(str(exc).split())[:200]
    return InputError(
        f"cannot be made a folder of transformers: {words}",
        where=str(gguf),
        hint="A base is a model of the Llama or Qwen family, with its tokenizer and chat template.",
    )
