"""Models of half a megabyte that llama.cpp runs and that generate given texts.

Attention and MLP are zero, so that the next token depends on the last one alone: its embedding
goes through to the output layer, whose rows are the embeddings of what comes before. Such a model
is a chain of texts, each of them one token; the line feed that ends a ChatML prompt begins it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

WIDTH, CONTEXT = 256, 2048
STRENGTH = 8.0
"""Logit of the next token, against about 1 for any other."""
F16, Q8_0 = 1, 7
CONTROL, USER, NORMAL = 3, 4, 1
START, END = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)
OTHER_TEMPLATE = "{# Of no make that Ollama knows. #}" + "{# More of the same. #}" * 6 + TEMPLATE


def write_model(
    path: Path,
    texts: Sequence[str],
    *,
    template: str | None = TEMPLATE,
    spoken: bool = True,
    file_type: int = Q8_0,
    puts_bos: bool = False,
) -> Path:
    """Write a model that generates `texts` in order, and ends.

    Args:
        spoken: whether it knows the order of its texts; without it, it ends at once.
        file_type: F16 or Q8_0.
        puts_bos: the engine is to put START before every prompt.
    """
    tokens, kinds = _vocabulary(texts)
    embeddings = _embeddings(len(tokens))
    output = np.zeros_like(embeddings)
    steps = _steps(tokens, texts) if spoken else {tokens.index("\u010a"): tokens.index(END)}
    for before, after in steps.items():
        output[after] += STRENGTH * embeddings[before]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_file_type(file_type)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["\u0120 t"])
    writer.add_bos_token_id(tokens.index(START))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(puts_bos)
    if template is not None:
        writer.add_chat_template(template)
    for name, values in _tensors(embeddings, output).items():
        if file_type == Q8_0 and values.dtype == np.float16:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(values.astype(np.float32), kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    return _written(writer, path)


def write_adapter(path: Path, texts: Sequence[str]) -> Path:
    """Write a LoRA adapter that gives `write_model(..., spoken=False)` the order of its texts."""
    tokens, _ = _vocabulary(texts)
    embeddings, steps = _embeddings(len(tokens)), _steps(tokens, texts)
    down = np.stack([embeddings[before] for before in steps]).astype(np.float32)
    up = np.zeros((len(tokens), len(steps)), np.float32)
    for rank, after in enumerate(steps.values()):
        up[after, rank] = 2 * STRENGTH
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(len(steps)))
    writer.add_tensor("output.weight.lora_a", down)
    writer.add_tensor("output.weight.lora_b", up)
    return _written(writer, path)


def _vocabulary(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return every byte as in GPT-2, one merged pair, the two special tokens, and the texts."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    bytes_ = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    tokens = [*bytes_, "\u0120t", START, END, *texts]
    kinds = [NORMAL] * (len(bytes_) + 1) + [CONTROL] * 2 + [USER] * len(texts)
    return tokens, kinds


def _embeddings(count: int) -> np.ndarray:
    found = np.random.default_rng(7).standard_normal((count, WIDTH))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _steps(tokens: list[str], texts: Sequence[str]) -> dict[int, int]:
    """Return the sequence of tokens: the line feed, the texts, the end."""
    said = [tokens.index(text) for text in ("\u010a", *texts, END)]
    return dict(itertools.pairwise(said))


def _tensors(embeddings: np.ndarray, output: np.ndarray) -> dict[str, np.ndarray]:
    nothing = np.zeros((WIDTH, WIDTH), np.float16)
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    ones = np.ones(WIDTH, np.float32)
    return {
        "token_embd.weight": embeddings.astype(np.float16),
        "output_norm.weight": ones,
        "output.weight": output.astype(np.float16),
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        **{f"blk.0.{name}.weight": nothing for name in names},
    }


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
