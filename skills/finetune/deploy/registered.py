"""Registry entries of a run: the model, and its GGUF files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.models import registry
from harness.models.backends.ollama_server import DEFAULT_HOST
from harness.models.registry import ServeEntry
from harness.settings import Settings
from skills.finetune.deploy import registry_file
from skills.finetune.deploy.modelfile_stage import served_gguf
from skills.finetune.deploy.registry_file import BY, registered_path
from skills.finetune.export.artifact_files import file_digest
from skills.finetune.formats.lora_adapter import WEIGHTS
from skills.finetune.model import start_from
from skills.finetune.run.run_dir import Entry, RunDir
from skills.finetune.run.stage import StageContext
from skills.nanda.framework import sha256_of

TASK = "annotate"
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Registration:
    """The entries of one run.

    Attributes:
        model: fields of harness.models.registry.ModelEntry as plain data.
        files: fields of harness.models.registry.FileEntry by id.
        cut: the training ended before its last epoch.
    """

    name: str
    model: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    cut: bool


def name_of(context: StageContext) -> str:
    """Return the name of the run's model.

    The name of an earlier --as-name in the folder is kept, unless --name is given.

    Raises:
        UsageError: the name is invalid, or that of a shipped model or of the model the training
            started from.
    """
    options = context.call.options
    own: str | None = getattr(options, "as_name", None)
    kept = None if getattr(options, "name", None) else context.run_dir.run.get("as_name")
    name = str(own or kept or context.run_dir.name)
    start_from.refuse_name(context.recipe, name)
    check_name(name, context.call.settings)
    return name


def check_name(name: str, settings: Settings) -> None:
    """Raise UsageError if a new model cannot have this name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid model name",
            hint="Use lower-case letters and digits, with single hyphens, dots or underscores "
            "between them.",
        )
    if name in registry.load(settings.shipped_registry).models:
        raise UsageError(
            f"{name} is the name of a shipped model",
            hint="Give the new model another name with --as-name.",
        )


def registration_of(context: StageContext) -> Registration:
    """Return the registry entries of the model in the run's folder.

    The model has the task only if it is the default: with --default, or if the same weights are
    registered as the default already. Otherwise only its name selects it.

    Raises:
        InputError: nothing is trained, there is no GGUF, or it is older than the training.
        UsageError: as `name_of`.
    """
    train, gguf = _trained(context.run_dir), served_gguf(context)
    _refuse_older(context.run_dir, train)
    name, cut = name_of(context), _is_cut(train)
    files = {f"{name}-gguf": _file(context, gguf)}
    if context.recipe.base in context.call.models.registry.files and context.run_dir.lora.is_file():
        files[f"{name}-lora"] = _file(context, context.run_dir.lora)
    model: dict[str, Any] = {
        "summary": f"{context.recipe.base}, fine-tuned to annotate abstracts",
        "tasks": [TASK] if _is_default(context, name, files) else [],
        "form": "tagged",
        "serve": list(_places(context, name, files)),
        "options": {"temperature": 0, "seed": 0},
        "fallback": registry.load(context.call.settings.shipped_registry).serving(TASK),
        "trained_on": {"by": BY, "files": list(files), **_origin(context, train, cut=cut)},
        "scores": {
            key: round(train.facts[key], 4)
            for key in ("dev_loss", "loss")
            if isinstance(train.facts.get(key), (int, float)) and math.isfinite(train.facts[key])
        },
    }
    return Registration(name, signed(model), files, cut)


def signed(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its digest, by which `is_edited` notices changes."""
    return {**model, "trained_on": {**model["trained_on"], "entry": _digest(model)}}


def is_edited(model: Mapping[str, Any]) -> bool:
    """Return True if a registered entry was changed by hand."""
    return bool(model["trained_on"].get("entry") != _digest(model))


def _digest(model: Mapping[str, Any]) -> str:
    """Return the digest of an entry, computed without the field that holds it."""
    origin = {key: value for key, value in model["trained_on"].items() if key != "entry"}
    return sha256_of({**model, "trained_on": origin})[:16]


def _trained(run_dir: RunDir) -> Entry:
    if (entry := run_dir.entry("train")) is not None:
        return entry
    raise run_dir.needs("train", "nothing is trained here")


def _is_default(context: StageContext, name: str, files: Mapping[str, Any]) -> bool:
    if getattr(context.call.options, "default", False):
        return True
    path = registry_file.file_of(context.call.settings.user_registry, name)
    found, weights = registry_file.read(path), f"{name}-gguf"
    tasks = found["models"].get(name, {}).get("tasks")
    return bool(tasks) and found["files"].get(weights) == files[weights]


def _is_cut(train: Entry) -> bool:
    """Return True if the training did fewer steps than its epochs have."""
    return bool(train.facts["steps"] < train.facts["steps_of_all_epochs"])


def _refuse_older(run_dir: RunDir, train: Entry) -> None:
    """Raise InputError if a GGUF was made of another adapter than the current one."""
    adapter = train.outputs.get(f"{run_dir.adapter.name}/{WEIGHTS}")
    gguf, quantize = run_dir.entry("gguf"), run_dir.entry("quantize")
    f16 = gguf.outputs.get(run_dir.f16.name) if gguf else None
    pairs = (("gguf", gguf, "adapter", adapter), ("quantize", quantize, "f16", f16))
    for stage, entry, made_of, now in pairs:
        if entry and now and entry.inputs.get(made_of, now.sha256) != now.sha256:
            raise run_dir.needs(stage, f"the output of {stage} is older than its inputs")


def _file(context: StageContext, path: Path) -> dict[str, Any]:
    return {
        "path": registered_path(context.call.settings.user_registry, path.resolve()),
        "sha256": file_digest(context.run_dir, path),
        "size": path.stat().st_size,
    }


def _places(context: StageContext, name: str, files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield `serve` entries, best first: Ollama if verified there, then the embedded engine."""
    tokens = context.recipe.export.num_ctx
    room = {} if tokens == ServeEntry.model_fields["context"].default else {"context": tokens}
    yield from (place | room for place in _at_ollama(context, files))
    yield {"backend": "llamacpp", "gguf": f"{name}-gguf"} | room
    if f"{name}-lora" in files:
        adapter = f"{name}-lora"
        yield {"backend": "llamacpp", "gguf": context.recipe.base, "adapter": adapter} | room


def _at_ollama(context: StageContext, files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    entry = context.run_dir.entry("ollama")
    if entry is None or entry.facts.get("verified") is not True:
        return
    made_of = json.dumps(entry.inputs)
    if any(str(file["sha256"]) in made_of for file in files.values()):
        host = entry.facts.get("host") or DEFAULT_HOST
        place = {"backend": "ollama", "model": entry.facts["model"]}
        place |= {"digest": entry.facts["digest"]} if entry.facts.get("digest") else {}
        yield place if host == DEFAULT_HOST else place | {"url": host}


def _origin(context: StageContext, train: Entry, *, cut: bool) -> dict[str, Any]:
    """Return what is known of data, rows, base, recipe and steps."""
    prepare, facts = context.run_dir.entry("prepare"), context.run_dir.prepared_facts()
    rows = facts.get("rows", {})
    found = {
        "data": context.data.name if context.data else None,
        "data_sha256": prepare.inputs.get("data") if prepare else None,
        "rows": {source: known["rows"] for source, known in rows.get("sources", {}).items()},
        "dev_rows": rows.get("dev"),
        "base": facts.get("base", context.recipe.base),
        "base_digest": facts.get("base_digest"),
        "start_from": context.recipe.adapter.start_from,
        "start_sha256": train.inputs.get("start"),
        "recipe": context.recipe.digest,
        "steps": train.facts.get("steps"),
        "steps_of_all_epochs": train.facts.get("steps_of_all_epochs") if cut else None,
        "created": train.created,
    }
    return {key: value for key, value in found.items() if value not in (None, {})}
