"""What a run is registered as: its entry among the models, and its files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.models.schema import ServeEntry
from skills.finetune.deploy.modelfile_stage import digest_of, served
from skills.finetune.deploy.ollama_host import DEFAULT_HOST
from skills.finetune.formats.lora_adapter import WEIGHTS
from skills.finetune.model import start_from
from skills.finetune.run.run_dir import Entry, Out
from skills.finetune.run.stage import Work
from skills.nanda.framework import sha256_of

BY = "/finetune register"
"""Stands in `trained_on.by` of an entry that was written here."""

FALLBACK = "producer"
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Registration:
    """The entries of one run.

    Attributes:
        model: as harness.models.schema.ModelEntry, in plain data.
        files: by id, as harness.models.schema.FileEntry.
        cut: the training ended before its epochs did.
    """

    name: str
    model: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    cut: bool


def name_of(work: Work) -> str:
    """What the run is called: a training that was cut short is not the model of the recipe's name.

    Raises:
        InputError: nothing is trained.
        UsageError: the name cannot be one, is not for a run that was cut short, or is that of the
            model that it goes on from.
    """
    return _name(work, _trained(work.out), held_back=_is_held_back(work))


def registration_of(work: Work) -> Registration:
    """What the run in the folder is registered as; nothing is written.

    A run that was cut short gets a name of its own and no task, unless --force says otherwise.

    Raises:
        InputError: nothing is trained, there is no GGUF, or that is of an earlier training.
        UsageError: as `name_of` says.
    """
    train = _trained(work.out)
    gguf = served(work)
    _refuse_older(work.out, train)
    cut, held_back = _is_cut(work, train), _is_held_back(work)
    name = _name(work, train, held_back=held_back)
    files = {f"{name}-gguf": _file(work, gguf)}
    if work.recipe.base in work.call.models.registry.files and work.out.lora.is_file():
        files[f"{name}-lora"] = _file(work, work.out.lora)
    model: dict[str, Any] = {
        "summary": f"{work.recipe.base}, fine-tuned to annotate abstracts",
        "tasks": [] if held_back else ["annotate"],
        "form": "tagged",
        "serve": list(_places(work, name, files)),
        "options": {"temperature": 0, "seed": 0},
    }
    if FALLBACK in work.call.models.registry.models:
        model["fallback"] = FALLBACK
    model["trained_on"] = {"by": BY, "files": list(files), **_origin(work, train, cut=cut)}
    model["scores"] = {
        key: round(train.facts[key], 4)
        for key in ("dev_loss", "loss")
        if isinstance(train.facts.get(key), (int, float)) and math.isfinite(train.facts[key])
    }
    model["trained_on"]["entry"] = _digest(model)
    return Registration(name, model, files, cut)


def check_name(own: str | None) -> None:
    """Refuse what cannot be a model's name; None is none.

    Raises:
        UsageError: saying what can.
    """
    if own is not None and not _NAME.fullmatch(own):
        raise UsageError(
            f"{own!r} cannot be a model's name",
            hint="Small letters and digits, with single hyphens, dots and underscores between.",
        )


def is_edited(model: Mapping[str, Any]) -> bool:
    """Whether an entry that was written here has been changed since."""
    return bool(model["trained_on"].get("entry") != _digest(model))


def _digest(model: Mapping[str, Any]) -> str:
    """Of an entry as it is read back, without this digest itself."""
    origin = {key: value for key, value in model["trained_on"].items() if key != "entry"}
    return sha256_of({**model, "trained_on": origin})[:16]


def _trained(out: Out) -> Entry:
    if (entry := out.entry("train")) is not None:
        return entry
    raise InputError(
        "nothing is trained here",
        where=str(out.folder),
        hint=f"`/finetune train {out.folder}` does it.",
    )


def _is_held_back(work: Work) -> bool:
    return not work.call.force and _is_cut(work, _trained(work.out))


def _name(work: Work, train: Entry, *, held_back: bool) -> str:
    own: str | None = getattr(work.call.options, "as_name", None)
    check_name(own)
    if not held_back:
        start_from.refuse_name(work.recipe, own or work.out.name)
        return own or work.out.name
    if own in (work.out.name, "nanda-annotator"):
        raise UsageError(
            f"a training that was cut short is not registered as {own}",
            hint="--force does it; without --as-name it gets a name of its own.",
        )
    return own or f"{work.out.name}-cut-{sha256_of(dict(train.inputs))[:6]}"


def _is_cut(work: Work, train: Entry) -> bool:
    """Whether fewer steps were done than all epochs have."""
    steps, planned = train.facts.get("steps"), train.facts.get("steps_of_all_epochs")
    if steps is None or planned is None:
        return work.recipe.training.max_steps is not None
    return bool(steps < planned)


def _refuse_older(out: Out, train: Entry) -> None:
    """Refuse a GGUF of another adapter than the one that stands here.

    Raises:
        InputError: naming what has to be made anew.
    """
    adapter = train.outputs.get(f"{out.adapter.name}/{WEIGHTS}")
    gguf, quantize = out.entry("gguf"), out.entry("quantize")
    f16 = gguf.outputs.get(out.f16.name) if gguf else None
    pairs = (("gguf", gguf, "adapter", adapter), ("quantize", quantize, "f16", f16))
    for stage, entry, made_of, now in pairs:
        if entry and now and entry.inputs.get(made_of, now.sha256) != now.sha256:
            raise InputError(
                f"what {stage} has left is older than what it is made of",
                where=str(out.folder),
                hint=f"`/finetune {stage} {out.folder}` makes it anew.",
            )


def _file(work: Work, path: Path) -> dict[str, Any]:
    return {
        "path": _from(work.call.settings.user_registry, path),
        "sha256": digest_of(work.out, path),
        "size": path.stat().st_size,
    }


def _from(registry: Path, path: Path) -> str:
    """The path as the registry names it: from its own folder, where it lies beneath that."""
    folder, file = registry.resolve().parent, path.resolve()
    relative = file.relative_to(folder) if file.is_relative_to(folder) else file
    return str(file) if str(relative).startswith("~") else relative.as_posix()


def _places(work: Work, name: str, files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Where it can be served, best first: at Ollama if it was verified there, then in process."""
    context = work.recipe.export.num_ctx
    room = {} if context == ServeEntry.model_fields["context"].default else {"context": context}
    yield from (place | room for place in _at_ollama(work, files))
    yield {"backend": "llamacpp", "gguf": f"{name}-gguf"} | room
    if f"{name}-lora" in files:
        adapter = f"{name}-lora"
        yield {"backend": "llamacpp", "gguf": work.recipe.base, "adapter": adapter} | room


def _at_ollama(work: Work, files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    entry = work.out.entry("ollama")
    if entry is None or entry.facts.get("verified") is not True:
        return
    made_of = json.dumps(entry.inputs)
    if any(str(file["sha256"]) in made_of for file in files.values()):
        host = entry.facts.get("host") or DEFAULT_HOST
        place = {"backend": "ollama", "model": entry.facts["model"]}
        yield place if host == DEFAULT_HOST else place | {"url": host}


def _origin(work: Work, train: Entry, *, cut: bool) -> dict[str, Any]:
    """Where the model comes from: data, rows, base, recipe and steps, as far as they are known."""
    prepare, facts = work.out.entry("prepare"), _prepared(work.out)
    rows = facts.get("rows", {})
    found = {
        "data": work.data.name if work.data else None,
        "data_sha256": prepare.inputs.get("data") if prepare else None,
        "rows": {source: known["rows"] for source, known in rows.get("sources", {}).items()},
        "dev_rows": rows.get("dev"),
        "base": facts.get("base", work.recipe.base),
        "base_digest": facts.get("base_digest"),
        "start_from": work.recipe.adapter.start_from,
        "start_sha256": train.inputs.get("start"),
        "recipe": work.recipe.digest,
        "steps": train.facts.get("steps"),
        "steps_of_all_epochs": train.facts.get("steps_of_all_epochs") if cut else None,
        "created": train.created,
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def _prepared(out: Out) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out.prepared / "prepared.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found
