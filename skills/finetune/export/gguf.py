"""The stage `gguf`: the merged model and the adapter alone, as llama.cpp reads them.

Both are written by llama.cpp's own converters, read back, and held against the base; the model is
also asked, and must answer as it does in transformers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.support.optional_deps import require
from skills.finetune.export import readback, same_text
from skills.finetune.export.artifact_files import digest_of, need_disk
from skills.finetune.export.llama_cpp import Converters, chosen_converters, run_program
from skills.finetune.export.readback import Readback
from skills.finetune.formats.lora_adapter import CONFIG, WEIGHTS, LoraAdapter, read_adapter
from skills.finetune.formats.stored_weights import FLOATS, read_weights
from skills.finetune.model.bases import Base, open_base
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext

LORA_TYPE = "f32"
"""How the adapter alone is kept: as it was trained, so that base and adapter are the merged model.
Every linear layer of SmolLM2-135M at r 16 takes 19.6 MB so, and 9.8 MB in f16; of four texts
through such an adapter, f16 and bf16 gave three others than f32 within 72 tokens."""
VOCABULARY = 64_000_000
"""Bytes that a GGUF may need besides its tensors: the longest vocabularies have 20 MB."""


def inputs(context: StageContext) -> Mapping[str, Any]:
    """Digests of the merged model, the adapter and the base, and who converts.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: nothing is merged, or --llama-cpp names no llama.cpp.
    """
    require("torch", "transformers", "gguf", "sentencepiece")
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
    """Convert both, check them, and put them in place.

    Raises:
        SkillFailed: a converter failed, or what it has written is not the base's model any more.
        OutputError: there is no room on the disk, or it cannot be written.
        Interrupted: the work was called off.
    """
    run_dir, base, adapter = (
        context.run_dir,
        open_base(context),
        read_adapter(context.run_dir.adapter),
    )
    need_disk(run_dir.folder, _needed(context), "the GGUF of the merged model")
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=run_dir.folder) as temporary:
        making = _Making(context, chosen_converters(context), base, Path(temporary))
        expected = making.of_base()
        model = making.model()
        readback.check(model, expected)
        lora = making.lora()
        _check_lora(lora, adapter, expected)
        compared = same_text.compare(context, run_dir.merged, model.path)
        facts = {
            "converters": making.converters.version,
            "f16": model.facts,
            "lora": {
                "type": lora_type(context),
                "types": lora.types,
                "bytes": lora.path.stat().st_size,
            },
            "same_text": asdict(compared),
        }
        model.path.replace(run_dir.f16)
        lora.path.replace(run_dir.lora)
    return Done([run_dir.f16, run_dir.lora], facts)


def lora_type(context: StageContext) -> str:
    """How the adapter alone is to be kept: as the option `lora_type` says, where the call has one.

    f32, or f16 for half the size.
    """
    return getattr(context.call.options, "lora_type", None) or LORA_TYPE


@dataclass(frozen=True, slots=True)
class _Making:
    """The conversions of one run, into a folder that is thrown away."""

    context: StageContext
    converters: Converters
    base: Base
    folder: Path

    def of_base(self) -> dict[str, Any]:
        """What the base's own vocabulary and settings are, as the same converter reads them."""
        path = self.folder / "base.gguf"
        arguments = "--vocab-only", "--outtype", "f16", "--outfile", path, self.base.folder
        self._run(self.converters.model, "base", "reading the base", arguments)
        return readback.of_base(readback.read(path), self.base.folder)

    def model(self) -> Readback:
        path = self.folder / self.context.run_dir.f16.name
        arguments = "--outtype", "f16", "--outfile", path, self.context.run_dir.merged
        self._run(self.converters.model, "f16", "converting the model", arguments)
        return readback.read(path)

    def lora(self) -> Readback:
        path = self.folder / self.context.run_dir.lora.name
        arguments = (
            *("--base", self.base.folder, "--outtype", lora_type(self.context), "--outfile", path),
            self.context.run_dir.adapter,
        )
        self._run(self.converters.lora, "lora", "converting the adapter", arguments)
        return readback.read(path, "general.type", "adapter.lora.alpha")

    def _run(self, script: Path, name: str, doing: str, arguments: tuple[str | Path, ...]) -> None:
        with self.context.call.screen.progress(doing) as tick:
            run_program(
                self.converters.command(script, *arguments),
                self.context.run_dir.folder / f"gguf-{name}.log",
                doing=doing,
                tick=tick,
                cancel=self.context.call.cancel,
                environment=self.converters.environment(),
            )


def _check_lora(found: Readback, adapter: LoraAdapter, expected: Mapping[str, Any]) -> None:
    """The engine adds alpha / r times B A, with the r of the matrices and the alpha of the file.

    Raises:
        SkillFailed: naming what is lost.
    """
    architecture = "general.architecture"
    readback.check(found, {architecture: expected[architecture]})
    weights = sum(adapter.r * sum(shape) for shape in adapter.shapes.values())
    for what, has, should in (
        ("general.type", found.extra["general.type"], "adapter"),
        ("adapter.lora.alpha", found.extra["adapter.lora.alpha"], adapter.alpha),
        ("the number of its matrices", sum(found.types.values()), 2 * len(adapter.shapes)),
        ("the number of its weights", found.weights, weights),
    ):
        if has != should:
            raise SkillFailed(
                f"{what} is {has}, and {should} in the adapter", where=str(found.path)
            )


def _needed(context: StageContext) -> int:
    """Bytes of what is written: each weight in two, and the adapter in four."""
    merged = read_weights(context.run_dir.merged).tensors.values()
    weights = sum((tensor.end - tensor.start) // FLOATS.get(tensor.dtype, 2) for tensor in merged)
    return 2 * weights + 2 * (context.run_dir.adapter / WEIGHTS).stat().st_size + VOCABULARY


STAGE = Stage("gguf", "write the model and the adapter for llama.cpp", inputs, perform)
