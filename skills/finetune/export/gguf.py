"""The stages `gguf` and `quantize`: convert the merged model and the adapter for llama.cpp.

llama.cpp's own converters and library write the files. If a converter loses the chat template, or
changes the end token or the splitting of words, the model can still be loaded, but its answers are
worse (llama.cpp #7062, ollama #17939). So every file is read back and compared with its source.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.models.gguf_file import GgufFile, open_gguf
from harness.support.process import require
from skills.finetune.export import llama_cpp
from skills.finetune.model.base_shapes import read_weights
from skills.finetune.model.bases import chat_template, end_tokens, open_base
from skills.finetune.model.lora_adapters import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from skills.finetune.run_folder import Entry, StageContext, digest_of, emptied, need_disk

LORA_TYPE = "f32"
"""Default type of the converted adapter: the type of the trained adapter, so that nothing is lost.

An adapter with r 16 on all linear layers of SmolLM2-135M has 19.6 MB in f32 and 9.8 MB in f16. But
with f16 and bf16, three of four generated texts differed within 72 tokens from the texts with f32.
"""
VOCABULARY = 64_000_000
"""Upper bound of the bytes of a GGUF besides its tensors; the largest vocabularies have 20 MB."""
FALLBACKS = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")
LARGEST = 0.6
"""Upper bound of the size of a quantized GGUF, relative to the 16-bit GGUF.

The largest type is Q8_0 with 8.5 bits per weight; no type falls back to a larger type than Q8_0.
"""
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
"""The metadata keys that must have the same values in a quantized GGUF and its source."""


def convert(context: StageContext) -> Entry:
    """Convert the model and the adapter to GGUF, check both, and return the stage's entry.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: there is no merged model, or --llama-cpp does not name a llama.cpp checkout.
        SkillFailed: a converter failed, or a file differs from the base or the trained adapter.
        OutputError: the disk is too small, or a file cannot be written.
        Interrupted: the run was cancelled.
    """
    require("torch", "transformers", "sentencepiece")
    out, base = context.run_dir, open_base(context)
    converters = llama_cpp.find_converters(context.call.options.llama_cpp)
    lora_type = context.call.options.lora_type or LORA_TYPE
    inputs = {
        "converters": converters.version,
        "merged": digest_of(out, "merge", out.merged),
        "adapter": digest_of(out, "train", out.adapter / WEIGHTS),
        "adapter_config": digest_of(out, "train", out.adapter / CONFIG),
        "base": base.digest,
        "lora_type": lora_type,
    }
    stage = context.begin("gguf", "convert the model and the adapter for llama.cpp", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    adapter = read_adapter(out.adapter)
    # 2 bytes for each weight of the model, and twice the size of the trained adapter's file
    needed = 2 * read_weights(out.merged).count + 2 * (out.adapter / WEIGHTS).stat().st_size
    need_disk(out.folder, needed + VOCABULARY, "the GGUF of the merged model")
    with emptied(out.folder / ".gguf") as temporary:
        path, lora_path = temporary / out.f16.name, temporary / out.lora.name
        program = converters.program(llama_cpp.MODEL_SCRIPT, out.merged, path, "f16")
        log, call = out.folder / "gguf-f16.log", context.call
        llama_cpp.run_program(call, program, log, "converting the model")
        program = converters.program(
            llama_cpp.LORA_SCRIPT, out.adapter, lora_path, lora_type, "--base", base.folder
        )
        log = out.folder / "gguf-lora.log"
        llama_cpp.run_program(call, program, log, "converting the adapter")
        model, lora = open_gguf(path), open_gguf(lora_path)
        check_base(model, base.folder)
        _check_lora(lora, adapter, model.values["general.architecture"])
        facts = {
            "converters": converters.version,
            "f16": facts_of(model),
            "lora": {
                "type": lora_type,
                "types": lora.tensor_types,
                "bytes": lora.path.stat().st_size,
            },
        }
        model.path.replace(out.f16)
        lora.path.replace(out.lora)
    return stage.record([out.f16, out.lora], facts)


def quantize(context: StageContext) -> Entry:
    """Quantize the f16 GGUF, check the quantized file, and return the stage's entry.

    llama.cpp's library quantizes, since the converter cannot write Q4_K_M. In a mix of types such
    as Q4_K_M, a tensor gets a larger type if its row length is not a multiple of 256
    (src/llama-quant.cpp). In a small model, most tensors may get a larger type. So the file is
    named after the requested type, and the manifest contains the number of tensors of each type.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: there is no f16 GGUF.
        SkillFailed: the library failed, or changed more than the weights.
        OutputError: the disk is too small, or the file cannot be written.
        Interrupted: the run was cancelled.
    """
    require("cffi")
    out, kind = context.run_dir, context.recipe.export.quantize
    library = llama_cpp.library_version()
    inputs = {"library": library, "f16": digest_of(out, "gguf", out.f16), "quantize": kind}
    stage = context.begin("quantize", "quantize the model", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    source, target = out.f16, out.quantized(kind)
    need_disk(out.folder, int(source.stat().st_size * LARGEST), f"the {kind} GGUF")
    before = identity_of(open_gguf(source))
    with emptied(out.folder / ".quantize") as temporary:
        written = temporary / target.name
        program, doing = llama_cpp.quantizer(source, written, kind), f"quantizing to {kind}"
        text = llama_cpp.run_program(context.call, program, out.folder / "quantize.log", doing)
        after = open_gguf(written)
        check_identity(after, before, source.name)
        _check_type(after, kind)
        fallbacks = FALLBACKS.search(text)
        facts = {
            "library": library,
            **facts_of(after),
            "fallbacks": int(fallbacks[1]) if fallbacks else 0,
        }
        written.replace(target)
    return stage.record([target], facts)


def _check_lora(gguf: GgufFile, adapter: LoraAdapter, architecture: str) -> None:
    """Compare the converted adapter with the trained adapter.

    The engine adds alpha / r * B A to a weight. The value of r comes from the shape of the
    matrices, and alpha from the metadata.

    Raises:
        SkillFailed: the adapters differ; the message states the difference.
    """
    weights = sum(adapter.r * sum(shape) for shape in adapter.shapes.values())
    for name, found, should in (
        ("general.architecture", gguf.values.get("general.architecture"), architecture),
        ("general.type", gguf.values.get("general.type"), "adapter"),
        ("adapter.lora.alpha", gguf.values.get("adapter.lora.alpha"), adapter.alpha),
        ("the number of its matrices", len(gguf.tensors), 2 * len(adapter.shapes)),
        ("the number of its weights", gguf.weights, weights),
    ):
        if found != should:
            raise SkillFailed(f"{name} is {found}, and should be {should}", where=str(gguf.path))


def _check_type(gguf: GgufFile, kind: str) -> None:
    """Raise SkillFailed if a quantized file does not have the requested type."""
    if gguf.file_type != kind:
        raise SkillFailed(f"its type is {gguf.file_type}, not {kind}", where=str(gguf.path))


def identity_of(gguf: GgufFile) -> dict[str, Any]:
    """Return the metadata of a GGUF for each of `KEYS`, with template and tokens as SHA-256."""
    found: dict[str, Any] = {key: gguf.values.get(key) for key in KEYS}
    if found[TEMPLATE] is not None:
        found[TEMPLATE] = _sha256(found[TEMPLATE].encode())
    if found[TOKENS] is not None:
        tokens = [token.encode() for token in found[TOKENS]]
        # Hash the tokens as a GGUF stores them: each token after its length.
        found[TOKENS] = _sha256(b"".join(len(t).to_bytes(8, "little") + t for t in tokens))
    return found


def facts_of(gguf: GgufFile) -> dict[str, Any]:
    """Return the metadata, tensor types and sizes of a GGUF for the manifest."""
    weights = gguf.weights
    return {
        **identity_of(gguf),
        "types": gguf.tensor_types,
        "weights": weights,
        "bits_per_weight": round(8 * gguf.tensor_bytes / weights, 3) if weights else 0.0,
        "bytes": gguf.path.stat().st_size,
    }


def check_identity(gguf: GgufFile, expected: Mapping[str, Any], of: str = "the base") -> None:
    """Compare the metadata of a file with the metadata of its source.

    Args:
        expected: values of `KEYS`, as `identity_of` returns them.
        of: the model with the expected values, as named in the message.

    Raises:
        SkillFailed: a value differs; the message has the key and the beginnings of both values.
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
    """Compare the chat template and the end token of a GGUF with the files of its base.

    Raises:
        SkillFailed: a value differs.
    """
    template, ends = chat_template(folder), end_tokens(folder)
    expected: dict[str, Any] = {TEMPLATE: _sha256(template.encode())} if template else {}
    if ends and gguf.values.get(EOS) not in ends:
        expected[EOS] = min(ends)
    check_identity(gguf, expected)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)[:16]
