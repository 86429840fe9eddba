"""A folder with a trained and converted run, and a user's registry."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from declared_outputs import check_output

from harness.api.skill import Call
from harness.models import registry
from harness.models.pool import ModelPool, Models
from harness.runs.run_log import Run
from harness.settings import CODE_ROOT, Settings, registry_folder
from harness.terminal.console import Screen
from skills.finetune import recipe as recipes
from skills.finetune.export.register import file_of, first_model, register, unregister
from skills.finetune.plugin import Finetune
from skills.finetune.run_folder import RunDir, StageContext
from skills.nanda import framework as frameworks

SHIPPED = CODE_ROOT / "models" / "registry.yaml"
NAME = "ft"
DEFAULT = registry.load(SHIPPED).serving("annotate")


@dataclass
class Bench:
    """A folder with a trained and converted run, and a user's registry."""

    folder: Path
    recipe: recipes.Recipe
    stderr: io.StringIO
    settings: Settings

    @property
    def out(self) -> RunDir:
        return RunDir.of(self.folder / "out", self.recipe)

    @property
    def path(self) -> Path:
        return self.settings.user_registry

    @property
    def folder_d(self) -> Path:
        return registry_folder(self.path)

    @property
    def names(self) -> list[str]:
        """The registered models."""
        return sorted(path.stem for path in self.folder_d.glob("*"))

    @property
    def first(self) -> str | None:
        """The model that /annotate tries first."""
        return first_model(self.settings)

    def entry(self, name: str = NAME) -> Any:
        """The entry of a registered model in its file."""
        return self.file(name)["models"][name]

    def file(self, name: str = NAME) -> Any:
        return yaml.safe_load(file_of(self.path, name).read_text(encoding="utf-8"))

    def call(self, *, force: bool = False, **options: Any) -> Call:
        laid = registry.load(SHIPPED, self.path)
        return Call(
            text="",
            options=Finetune.Options(**options),
            models=Models(ModelPool(laid, {})),
            screen=Screen(io.StringIO(), self.stderr),
            log=Run(),
            settings=self.settings,
            force=force,
        )

    def write(self, text: str) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(text.encode())

    def text(self) -> str:
        return self.path.read_bytes().decode()

    def context(self, *, force: bool = False, **options: Any) -> StageContext:
        call, data = self.call(force=force, **options), self.folder / "train.jsonl"
        return StageContext(call, self.recipe, self.out, frameworks.nanda(), data)

    def register(self, **given: Any) -> Mapping[str, Any]:
        """Perform the stage, and return its facts."""
        context = self.context(**given)
        before = len(self.stderr.getvalue())
        entry = register(context)
        is_current = "register: unchanged" in self.stderr.getvalue()[before:]
        return {"current": True} if is_current else entry.facts

    def unregister(self, name: str = NAME, *, force: bool = False, **asking: Any) -> Any:
        result = unregister(replace(self.call(force=force), **asking), name)
        check_output(Finetune(), "unregister", result)
        self.stderr.write(result.text)
        return result.data

    def trained(self, weights: Path | None = None, *, steps: int = 90, adapter: str = "a") -> None:
        """Create the output of the earlier stages."""
        out = self.out
        out.adapter.mkdir(parents=True, exist_ok=True)
        out.prepared.mkdir(exist_ok=True)
        facts = {
            "base": "smollm2-135m-instruct",
            "base_digest": "b" * 64,
            "rows": {"train": 12, "dev": 2, "sources": {"gold": {"rows": 12, "weights": [1.0]}}},
        }
        (out.prepared / "prepared.json").write_text(json.dumps(facts))
        out.record("prepare", {"data": "d" * 64}, [out.prepared])
        (out.adapter / "adapter_model.safetensors").write_text(adapter)
        found = {"steps": steps, "steps_of_all_epochs": 90, "dev_loss": 1.23456, "loss": None}
        train = out.record("train", {"train": "t" * 64}, [out.adapter], found)
        out.f16.write_text(f"f16 of {adapter}")
        out.lora.write_text(f"lora of {adapter}")
        made_of = train.outputs["adapter/adapter_model.safetensors"].sha256
        gguf = out.record("gguf", {"adapter": made_of}, [out.f16, out.lora])
        if weights is None:
            out.quantized("Q4_K_M").write_text(f"Q4_K_M of {adapter}")
        else:
            shutil.copyfile(weights, out.quantized("Q4_K_M"))
        quantized = {"f16": gguf.outputs[out.f16.name].sha256}
        out.record("quantize", quantized, [out.quantized("Q4_K_M")])

    def at_ollama(
        self,
        *,
        verified: bool = True,
        host: str = "http://127.0.0.1:11434",
        digest: str | None = None,
    ) -> None:
        entry = self.out.entry("quantize")
        assert entry is not None
        made_of = {"files": [file.sha256 for file in entry.outputs.values()]}
        facts = {"model": NAME, "host": host, "verified": verified, "digest": digest}
        self.out.record("ollama", made_of, facts=facts)
