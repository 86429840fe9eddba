"""The stage `gguf`: convert the merged model and the adapter for llama.cpp.

Both are written by llama.cpp's own converters, read back, and compared with the base; the model's
answers must also agree with those of transformers.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.models.gguf_file import GgufFile, open_gguf
from harness.support.process import available_cores, require
from skills.finetune.export import same_text
from skills.finetune.export.llama_cpp import (
    Converters,
    chosen_converters,
    library_version,
    run_program,
)
from skills.finetune.model.bases import Base, chat_template, end_tokens, open_base
from skills.finetune.model.lora_adapters import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from skills.finetune.model.safetensors_files import read_weights
from skills.finetune.run_folder import Done, Stage, StageContext, digest_of, need_disk

LORA_TYPE = "f32"
"""The type of the converted adapter: as it was trained, so that base and adapter equal the merged
model. For every linear layer of SmolLM2-135M at r 16 this is 19.6 MB, and 9.8 MB in f16; of four
texts generated with such an adapter, f16 and bf16 changed three within 72 tokens."""
VOCABULARY = 64_000_000
"""Bytes that a GGUF may need besides its tensors: the longest vocabularies have 20 MB."""


def gguf_inputs(context: StageContext) -> Mapping[str, Any]:
    """Return the digests of the merged model, the adapter and the base, and the converter.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: nothing is merged, or --llama-cpp does not name a llama.cpp checkout.
    """
    require("torch", "transformers", "sentencepiece")
    adapter = context.run_dir.adapter
    return {
        "converters": chosen_converters(context).version,
        "merged": digest_of(context.run_dir, "merge", context.run_dir.merged),
        "adapter": digest_of(context.run_dir, "train", adapter / WEIGHTS),
        "adapter_config": digest_of(context.run_dir, "train", adapter / CONFIG),
        "base": open_base(context).digest,
        "lora_type": lora_type(context),
    }


def convert(context: StageContext) -> Done:
    """Convert both, check them, and move them into place.

    Raises:
        SkillFailed: a converter failed, or the result differs from the base's model.
        OutputError: the disk is too small, or a file cannot be written.
        Interrupted: the run was cancelled.
    """
    out, base, adapter = context.run_dir, open_base(context), read_adapter(context.run_dir.adapter)
    need_disk(out.folder, _needed(context), "the GGUF of the merged model")
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=out.folder) as temporary:
        conversion = _Conversion(context, chosen_converters(context), base, Path(temporary))
        model, lora = conversion.model(), conversion.lora()
        check_base(model, base.folder)
        _check_lora(lora, adapter, model.values["general.architecture"])
        facts = {
            "converters": conversion.converters.version,
            "f16": facts_of(model),
            "lora": {
                "type": lora_type(context),
                "types": lora.tensor_types,
                "bytes": lora.path.stat().st_size,
            },
            "same_text": asdict(same_text.compare(context, out.merged, model.path)),
        }
        model.path.replace(out.f16)
        lora.path.replace(out.lora)
    return Done([out.f16, out.lora], facts)


def lora_type(context: StageContext) -> str:
    """Return the type of the converted adapter: the option `lora_type` (f32, f16) or f32."""
    return getattr(context.call.options, "lora_type", None) or LORA_TYPE


@dataclass(frozen=True, slots=True)
class _Conversion:
    """The conversions of one run, into a temporary folder."""

    context: StageContext
    converters: Converters
    base: Base
    folder: Path

    def model(self) -> GgufFile:
        path = self.folder / self.context.run_dir.f16.name
        arguments = "--outtype", "f16", "--outfile", path, self.context.run_dir.merged
        return self._run(self.converters.model, "f16", "converting the model", path, arguments)

    def lora(self) -> GgufFile:
        path = self.folder / self.context.run_dir.lora.name
        options = (
            "--base",
            self.base.folder,
            "--outtype",
            lora_type(self.context),
            "--outfile",
            path,
        )
        arguments = (*options, self.context.run_dir.adapter)
        return self._run(self.converters.lora, "lora", "converting the adapter", path, arguments)

    def _run(
        self, script: Path, name: str, doing: str, path: Path, arguments: tuple[str | Path, ...]
    ) -> GgufFile:
        with self.context.call.screen.progress(doing) as tick:
            run_program(
                self.converters.command(script, *arguments),
                self.context.run_dir.folder / f"gguf-{name}.log",
                doing=doing,
                tick=tick,
                cancel=self.context.call.cancel,
                environment=self.converters.environment(),
            )
        return open_gguf(path)


def _check_lora(gguf: GgufFile, adapter: LoraAdapter, architecture: str) -> None:
    """Compare the converted adapter with the trained one.

    The engine adds alpha / r times B A, with the r of the matrices and the alpha of the file.

    Raises:
        SkillFailed: naming the difference.
    """
    weights = sum(adapter.r * sum(shape) for shape in adapter.shapes.values())
    for what, found, should in (
        ("general.architecture", gguf.values.get("general.architecture"), architecture),
        ("general.type", gguf.values.get("general.type"), "adapter"),
        ("adapter.lora.alpha", gguf.values.get("adapter.lora.alpha"), adapter.alpha),
        ("the number of its matrices", len(gguf.tensors), 2 * len(adapter.shapes)),
        ("the number of its weights", gguf.weights, weights),
    ):
        if found != should:
            raise SkillFailed(f"{what} is {found}, and should be {should}", where=str(gguf.path))


def _needed(context: StageContext) -> int:
    """Return the bytes that are written: 2 for each weight, and 4 for those of the adapter."""
    adapter = (context.run_dir.adapter / WEIGHTS).stat().st_size
    return 2 * read_weights(context.run_dir.merged).count + 2 * adapter + VOCABULARY


GGUF = Stage("gguf", "convert the model and the adapter for llama.cpp", gguf_inputs, convert)


WORKER = Path(__file__).with_name("quantize_worker.py")
FALLBACKS = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")
LARGEST = 0.6
"""Upper bound of the result's size relative to the 16-bit source: Q8_0, the largest type and the
last fallback for rows of a multiple of 32, has 8.5 bits per weight."""


def quantize_inputs(context: StageContext) -> Mapping[str, Any]:
    """Return the digest of the f16 GGUF, the type, and the library.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: there is no f16 GGUF.
    """
    require("cffi")
    return {
        "library": library_version(),
        "f16": digest_of(context.run_dir, "gguf", context.run_dir.f16),
        "quantize": context.recipe.export.quantize,
    }


def quantize(context: StageContext) -> Done:
    """Quantize, read back, and move into place.

    Raises:
        SkillFailed: the library failed, or changed more than the weights.
        OutputError: the disk is too small, or the file cannot be written.
        Interrupted: the run was cancelled.
    """
    out, kind = context.run_dir, context.recipe.export.quantize
    source, target = out.f16, out.quantized(kind)
    need_disk(out.folder, int(source.stat().st_size * LARGEST), f"the {kind} GGUF")
    before = identity_of(open_gguf(source))
    with tempfile.TemporaryDirectory(prefix=".quantize-", dir=out.folder) as temporary:
        written = Path(temporary) / target.name
        log = _run_worker(context, source, written)
        after = open_gguf(written)
        check_identity(after, before, source.name)
        _check_type(after, kind)
        fallbacks = FALLBACKS.search(log)
        facts = {
            "library": library_version(),
            **facts_of(after),
            "fallbacks": int(fallbacks[1]) if fallbacks else 0,
        }
        written.replace(target)
    return Done([target], facts)


def _run_worker(context: StageContext, source: Path, target: Path) -> str:
    kind = context.recipe.export.quantize
    command = [sys.executable, "-P", WORKER, source, target, _file_type(kind), available_cores()]
    doing = f"quantizing to {kind}"
    with context.call.screen.progress(doing) as tick:
        return run_program(
            list(map(str, command)),
            context.run_dir.folder / "quantize.log",
            doing=doing,
            tick=tick,
            cancel=context.call.cancel,
        )


def _file_type(kind: str) -> int:
    """Return the number of a type in enum llama_ftype of llama.h."""
    from gguf import LlamaFileType

    return int(LlamaFileType[f"MOSTLY_{kind}"])


def _check_type(gguf: GgufFile, kind: str) -> None:
    if gguf.file_type != kind:
        raise SkillFailed(f"its type is {gguf.file_type}, not {kind}", where=str(gguf.path))


QUANTIZE = Stage("quantize", "quantize the model", quantize_inputs, quantize)


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


def check_identity(gguf: GgufFile, expected: Mapping[str, Any], of: str = "the base") -> None:
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
    check_identity(gguf, expected)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)[:16]
