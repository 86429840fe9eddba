"""A run of /finetune with tiny models that llama.cpp can run."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.api.skill import Call
from harness.errors import (
    HarnessError,
)
from harness.runs.run_log import Run
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_models, fake_settings
from skills.finetune.export.modelfile import write_modelfiles
from skills.finetune.export.ollama_model import create_in_ollama
from skills.finetune.plugin import Finetune
from skills.finetune.recipe import Recipe, overridden
from skills.finetune.run_folder import RunDir, StageContext
from skills.nanda.framework import nanda

ANNOTATION = (
    "<annotation>\n",
    *(f"{move.label}: it says so here.\n" for move in nanda().moves),
    "</annotation>",
)
CONVERSATION = [
    {"role": "system", "content": "Annotate."},
    {"role": "user", "content": "We present."},
]


class Folder:
    """The folder of a run with GGUF files, and its stages."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.options = folder, options
        self.recipe = overridden(
            Recipe(),
            {
                "export.name": "ft",
                "export.num_ctx": 1024,
                "export.num_predict": 256,
                "export.quantize": "Q8_0",
                "base": "Some/Base",
            },
        )
        self.out = RunDir.of(folder, self.recipe)
        self.out.make()
        self.trained(steps=9)
        self.messages, self.models = "", fake_models(FakeModel())
        self.confirm: Callable[[str], bool] | None = None

    def trained(self, steps: int) -> None:
        """Record a training of `steps` of 9 steps."""
        facts = {"steps": steps, "steps_of_all_epochs": 9}
        self.out.record("train", {}, facts=facts)

    def take(self, gguf: Path) -> None:
        """Use this file as the quantized model."""
        shutil.copy(gguf, self.out.quantized("Q8_0"))

    def context(self) -> StageContext:
        self.err = io.StringIO()
        call = Call(
            text="",
            options=Finetune.Options(**self.options),
            models=self.models,
            screen=Screen(io.StringIO(), self.err),
            log=Run(),
            settings=fake_settings(self.folder),
            confirm=self.confirm,
        )
        return StageContext(call, self.recipe, self.out, nanda())

    def modelfile(self) -> Any:
        return write_modelfiles(self.context())

    def create(self) -> Any:
        """Perform the stage, and return the facts of its entry."""
        context = self.context()
        try:
            return create_in_ollama(context).facts
        finally:
            self.messages = self.err.getvalue()

    def refused(self) -> HarnessError:
        with pytest.raises(HarnessError) as caught:
            self.create()
        assert str(caught.value).count("\n") == 0
        return caught.value
