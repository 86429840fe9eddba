"""A GGUF as a folder of transformers: its weights in 16 bits, its tokenizer, its chat template."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import InputError

FORMAT = 1
"""Of the folders that are unpacked; those of another one are not used."""
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
    with _quiet(), _readable(gguf):
        AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        ).save_pretrained(folder)


def unpack_tokenizer(gguf: Path, folder: Path) -> None:
    """Write the tokenizer and the chat template of a GGUF into `folder`.

    Raises:
        InputError: it is no model that transformers can read.
    """
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    with _quiet(), _readable(gguf):
        kind = field(GGUFReader(gguf), "tokenizer.ggml.pre")
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if kind in DIGITS_APART:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    tokenizer.save_pretrained(folder)


def field(reader: Any, name: str, otherwise: Any = None) -> Any:
    """A value of the metadata of a GGUF, of its `gguf.GGUFReader`."""
    found = reader.fields.get(name)
    return otherwise if found is None else found.contents()


def differing(one: Callable[[str], int], other: Callable[[str], int]) -> str | None:
    """The first text of `PROBES` of which two ways of counting tokens say different."""
    return next((text for text in PROBES if one(text) != other(text)), None)


@contextmanager
def _readable(gguf: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as exc:
        raise InputError(
            f"cannot be made a folder of transformers: {' '.join(str(exc).split())[:200]}",
            where=str(gguf),
            hint="A base is a model of the Llama or Qwen family with its tokenizer.",
        ) from exc


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bars, which would stand within ours."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
