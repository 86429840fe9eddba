"""The stage `gguf`: convert the merged model and the adapter for llama.cpp.

Both are written by llama.cpp's own converters, read back, and compared with the base; the model's
answers must also agree with those of transformers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.models.gguf_file import GgufFile, open_gguf
from harness.support.process import require
from skills.finetune.export import readback, same_text
from skills.finetune.export.artifact_files import digest_of, need_disk
from skills.finetune.export.llama_cpp import Converters, chosen_converters, run_program
from skills.finetune.formats.lora_adapter import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from skills.finetune.formats.safetensors_files import read_weights
from skills.finetune.model.bases import Base, open_base
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext

LORA_TYPE = "f32"
"""The type of the converted adapter: as it was trained, so that base and adapter equal the merged
model. For every linear layer of SmolLM2-135M at r 16 this is 19.6 MB, and 9.8 MB in f16; of four
texts generated with such an adapter, f16 and bf16 changed three within 72 tokens."""
VOCABULARY = 64_000_000
"""Bytes that a GGUF may need besides its tensors: the longest vocabularies have 20 MB."""


def inputs(context: StageContext) -> Mapping[str, Any]:
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


def perform(context: StageContext) -> Done:
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
        readback.check_base(model, base.folder)
        _check_lora(lora, adapter, model.values["general.architecture"])
        facts = {
            "converters": conversion.converters.version,
            "f16": readback.facts_of(model),
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


STAGE = Stage("gguf", "convert the model and the adapter for llama.cpp", inputs, perform)
