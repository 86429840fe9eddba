"""A run of /finetune with a random adapter.

work = work_in(tmp_path, base=base)
random_adapter(base, work.out.adapter)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness.api.skill import Call
from harness.runs.run_log import Run
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_models, fake_settings
from skills.finetune.export import llama_cpp
from skills.finetune.plugin import Finetune
from skills.finetune.recipe import Recipe, overridden
from skills.finetune.run_folder import Entry, RunDir, Stage, StageContext
from skills.nanda.framework import nanda

R, ALPHA = 4, 8


def work_in(
    folder: Path,
    *,
    base: Path,
    export: Mapping[str, Any] | None = None,
    quantization: Mapping[str, Any] | None = None,
    **options: Any,
) -> StageContext:
    """Return a run in `folder`/out over a base folder."""
    changes = {f"export.{name}": value for name, value in (export or {}).items()}
    changes |= {f"quantization.{name}": value for name, value in (quantization or {}).items()}
    recipe = overridden(Recipe(), {"base": str(base), **changes})
    out = RunDir.of(folder / "out", recipe)
    out.make()
    return StageContext(call_of(folder, **options), recipe, out, nanda())


def call_of(folder: Path, **options: Any) -> Call:
    """Return a call of /finetune with settings in `folder`."""
    return Call(
        text="",
        options=Finetune.Options(**options),
        models=fake_models(FakeModel()),
        screen=Screen(io.StringIO(), io.StringIO()),
        log=Run(),
        settings=fake_settings(folder),
    )


def random_adapter(
    base: Path, folder: Path, *, strength: float = 0.05, seed: int = 0, hidden: int | None = None
) -> None:
    """An adapter of every linear layer as peft saves it.

    Args:
        strength: standard deviation of B; 0 is an adapter before its first step.
        hidden: for a base of another width.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    config.hidden_size = hidden or config.hidden_size
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        wanted = LoraConfig(
            r=R, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        tuned = get_peft_model(model, wanted).to_empty(device="cpu")
        for name, matrix in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(matrix.data, std=strength if "lora_B" in name else 0.1)
    tuned.save_pretrained(folder)


def converted(folder: Path, target: Path) -> Path:
    """The model in a folder as a GGUF in 16 bits."""
    return _converted(llama_cpp.MODEL_SCRIPT, folder, target, "f16")


def converted_adapter(base: Path, adapter: Path, target: Path, kind: str = "f32") -> Path:
    """An adapter of peft as a GGUF."""
    return _converted(llama_cpp.LORA_SCRIPT, adapter, target, kind, "--base", base)


def _converted(script: str, source: Path, target: Path, kind: str, *more: str | Path) -> Path:
    converters = llama_cpp.find_converters()
    program, log = (
        converters.program(script, source, target, kind, *more),
        target.with_suffix(".log"),
    )
    llama_cpp.run_program(call_of(target.parent), program, log, "converting")
    return target


class _Begun(Exception):
    """A stage has computed its inputs."""


def inputs_of(stage: Callable[[StageContext], Entry], context: StageContext) -> Mapping[str, Any]:
    """Return the inputs of a stage, which is not performed."""
    found: dict[str, Any] = {}

    def begin(self: StageContext, name: str, summary: str, inputs: Mapping[str, Any]) -> Stage:
        found.update(inputs)
        raise _Begun

    with patch.object(StageContext, "begin", begin), suppress(_Begun):
        stage(context)
    return found
