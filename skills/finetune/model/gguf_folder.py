"""Unpack a GGUF into a transformers folder: weights in bfloat16, tokenizer, chat template."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError
from harness.models.gguf_file import open_gguf

FORMAT = 1
"""Version of the unpacked folders; those of another version are not used."""
SINGLE_DIGITS = frozenset({"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"})
"""Pre-tokenizers of llama.cpp (src/llama-vocab.cpp) that first split off every digit and then split
as GPT-2 does. For these, transformers 5.24 only applies the split of GPT-2."""
PROBES = (
    "In 2024 we saw 1,234.5 of x86, CO2 and H2O (n=312; p<0.05), a 3.5% rise.",
    "Blanks  2 before\n\n3 digits,\ttabs   and   more    .  ",
    "Café naïve 中文 ½ ² Δ→∞ I'll they've it's 'quoted' \"twice\" <annotation>",
)
"""Texts in which tokenizers tend to differ."""


def unpack(gguf: Path, folder: Path) -> None:
    """Write a GGUF into `folder` as transformers would save it, in bfloat16.

    Raises:
        InputError: transformers cannot read the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    unpack_tokenizer(gguf, folder)
    with _translated(gguf):
        AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        ).save_pretrained(folder)


def unpack_tokenizer(gguf: Path, folder: Path) -> None:
    """Write the tokenizer and the chat template of a GGUF into `folder`.

    Raises:
        InputError: transformers cannot read the model.
    """
    from transformers import AutoTokenizer

    with _translated(gguf):
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if open_gguf(gguf).values.get("tokenizer.ggml.pre") in SINGLE_DIGITS:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    tokenizer.save_pretrained(folder)


def differing(one: Callable[[str], int], other: Callable[[str], int]) -> str | None:
    """Return the first text of `PROBES` for which two token counters differ, or None."""
    return next((text for text in PROBES if one(text) != other(text)), None)


@contextmanager
def _translated(gguf: Path) -> Iterator[None]:
    """Translate errors of transformers, and hide its progress bars."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as exc:
        raise InputError(
            f"cannot be unpacked by transformers: {' '.join(str(exc).split())[:200]}",
            where=str(gguf),
            hint="A base is a model of the Llama or Qwen family with its tokenizer.",
        ) from exc
