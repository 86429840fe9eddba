"""The stage `register`: add a trained model to the user's registry, or remove the model.

Each registered model has its own file in registry.d, beside the user's registry.yaml. A model gets
the task `annotate` if `--default` is given, or if it is better in the stage `compare`. The latest
such model serves `/annotate` by default. Without the task, only `--model NAME` selects a model.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from harness.api.skill import Call, Result
from harness.errors import HarnessError, RegistryError, UsageError, did_you_mean
from harness.models import registry
from harness.models.backends.ollama_server import DEFAULT_HOST
from harness.models.registry import ServeEntry
from harness.runs import targets
from harness.settings import Settings, registry_folder
from harness.support import yaml_files
from harness.support.process import job_lock
from skills.finetune.export.modelfile import served_gguf
from skills.finetune.export.ollama_api import Ollama
from skills.finetune.model.lora_adapters import WEIGHTS
from skills.finetune.run_folder import Entry, RunDir, StageContext, file_digest
from skills.nanda.framework import sha256_of

TASK = "annotate"
BY = "/finetune register"
"""Value of `trained_on.by` in the registry entries that `add` writes."""
HEADER = f"# Written by {BY}. `/finetune unregister` deletes this file.\n"
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_RELOAD = "In a running session, use /reload."


def register(context: StageContext) -> Entry:
    """Write the model's entries to registry.d, and return the stage's entry in the manifest.

    Raises:
        InputError: no model was trained, or the GGUF is missing or older than the training.
        UsageError: the name cannot be used, another process is changing the registry, or --force is
            not given and the user wrote or changed an entry with this name.
        OutputError: the file cannot be written.
    """
    user, wanted = context.call.settings.user_registry, registration_of(context)
    refuse_to_replace(context.call, wanted.name)
    chosen = context.call.options.default
    inputs = {
        "registry": str(user),
        "name": wanted.name,
        "model": wanted.model,
        "files": wanted.files,
    }
    stands = _stands(context.call, wanted, chosen)
    stage = context.begin("register", "add the model to your registry", inputs, stands=stands)
    if stage.unchanged is not None:
        return stage.unchanged
    return stage.record(facts=add(context.call, wanted, chosen=chosen))


def add(call: Call, wanted: Registration, *, chosen: bool) -> dict[str, Any]:
    """Write a model's entries to registry.d if necessary, and return facts about the registration.

    Args:
        chosen: True to make the model the default of its tasks.

    Raises:
        UsageError: another process is changing the registry, or --force is not given and the user
            wrote or changed an entry with this name.
        OutputError: the file cannot be written.
    """
    user = call.settings.user_registry
    path = file_of(user, wanted.name)
    with _lock(call.settings):
        refuse_to_replace(call, wanted.name)
        is_known, written = bool(_entry_of(user, wanted.name)), not _stands(call, wanted, chosen)
        if written:
            # Of the models with a task, the model with the latest time `registered` is the default.
            now, before = datetime.now(UTC), read_entries(path).get("registered")
            registered = now if chosen else before or now
            models = {wanted.name: wanted.model}
            data = {"version": 1, "registered": registered, "models": models, "files": wanted.files}
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
            path.parent.mkdir(parents=True, exist_ok=True)
            targets.write_text(path, HEADER + text)
    facts = {
        "registry": str(path),
        "name": wanted.name,
        "written": written,
        "replaced": is_known and written,
        "default": bool(wanted.model["tasks"]),
        "places": [" ".join(map(str, place.values())) for place in wanted.model["serve"]],
    }
    done = f"is written to {path}. {_RELOAD}" if written else f"is unchanged in {path}"
    call.screen.notice(f"register: {wanted.name} {done}")
    return facts


def unregister(call: Call, name: str) -> Result:
    """Remove a model from the registry, and return the result of the command.

    The model is also removed from Ollama if the user agrees. The model's files are kept.

    Raises:
        UsageError: the model is not in registry.d, another process is changing the registry, or
            --force is not given and /finetune did not register the model.
        RegistryError: another entry needs the model or its files.
    """
    settings, name = call.settings, name.strip()
    user = settings.user_registry
    path = file_of(user, name)
    with _lock(settings):
        found = read_entries(path)
        if name not in found["models"]:
            raise not_registered(call, name)
        if not is_registered(found["models"][name]) and not call.force:
            raise UsageError(
                f"{name} was not written by /finetune register",
                where=str(path),
                hint="--force deletes the file.",
            )
        broken = _errors(settings)
        for exc in _errors(settings, without=path):
            if str(exc) not in map(str, broken):
                raise RegistryError(f"{name} is in use: {exc.message}", where=exc.where) from exc
        path.unlink()
    first = first_model(settings)
    now = f"/annotate now tries {first} first." if first else "No model serves /annotate now."
    text = f"{name} is removed from the registry ({path}). {now}"
    facts = {"registry": str(path), "name": name, "files": [*found["files"]], "asked_first": first}
    removals = list(_at_ollama(call, found["models"][name]))
    return Result("\n".join([f"{text} {_RELOAD}", *removals]), {**facts, "ollama": removals})


def _at_ollama(call: Call, model: Mapping[str, Any]) -> Iterator[str]:
    """Offer to remove a model from each Ollama server of its entry; yield the outcomes.

    `--yes` confirms the removal only if the entry contains the digest of the model at the server.
    Entries that an older harness wrote have no digest, so the server may have another model under
    the same name.
    """
    for place in model.get("serve", ()):
        if place["backend"] != "ollama":
            continue
        name = place["model"]
        try:
            with Ollama(place.get("url")) as ollama:
                digest, where = ollama.digest(name), f"{name} at {ollama.host}"
                if digest is None:
                    continue
                stated = place.get("digest")
                if stated and stated != digest:
                    yield f"{where} is another model by now, and is kept."
                    continue
                question = f"Also remove {where} (digest {digest[:8]})?"
                if (call.yes and stated) or (call.confirm and call.confirm(question)):
                    ollama.delete(name)
                    yield f"{where} is removed."
                else:
                    command = f"OLLAMA_HOST={ollama.host} ollama rm {name}"
                    why = "" if stated else ", since its entry states no digest"
                    yield f"{where} is kept{why}: `{command}` removes it."
        except HarnessError as exc:  # the registry is already changed, so this error is not raised
            yield f"{name} may still be at Ollama: {exc.message}."


def _lock(settings: Settings) -> AbstractContextManager[None]:
    return job_lock(settings.data_dir / "locks", str(settings.user_registry.resolve()))


def _entry_of(user: Path, name: str) -> dict[str, Any] | None:
    """Return the entry of a model in the user's registry; None if the model has no entry.

    The user's registry consists of registry.yaml and the files in registry.d. Files in registry.d
    that cannot be read are ignored.
    """
    models: dict[str, Any] = read_entries(user)["models"]
    for path in registry.registered_files(user):
        with suppress(RegistryError):
            models |= read_entries(path)["models"]
    return models.get(name)


def _stands(call: Call, wanted: Registration, chosen: bool) -> bool:
    """Return True if the entries are stored and, with `chosen`, the model is the default."""
    found = read_entries(file_of(call.settings.user_registry, wanted.name))
    written = (found["models"], found["files"]) == ({wanted.name: wanted.model}, wanted.files)
    tasks = wanted.model["tasks"]
    return written and (
        not chosen or all(first_model(call.settings, task) == wanted.name for task in tasks)
    )


def refuse_to_replace(call: Call, name: str) -> None:
    """Without --force, raise UsageError if the user wrote or changed an entry of this name."""
    user = call.settings.user_registry
    if call.force:
        return
    found = _entry_of(user, name)
    if found is not None and not is_registered(found):
        reason = f"{name} exists already, and was not written by /finetune register"
    elif found is not None and is_edited(found):
        reason = f"{name} was changed by hand since it was registered"
    else:
        return
    raise UsageError(reason, where=str(user), hint="--force replaces the model in the registry.")


def _errors(settings: Settings, without: Path | None = None) -> list[RegistryError]:
    """Return the errors of the user's registry files, ignoring the file `without`."""
    errors: list[RegistryError] = []
    shipped, user = settings.shipped_registry, settings.user_registry
    try:
        registry.load(shipped, user, without=without, left_out=errors.append)
    except RegistryError as exc:
        errors.append(exc)
    return errors


def first_model(settings: Settings, task: str = TASK) -> str | None:
    """Return the name of the default model of a task; None if no model serves the task."""
    models = usable_registry(settings).models
    return next((name for name, entry in models.items() if task in entry.tasks), None)


def usable_registry(settings: Settings, without: Path | None = None) -> registry.Registry:
    """Return the shipped registry, overlaid by the user's registry.

    The file `without` and unusable files of registry.d are ignored.
    """
    shipped, user = settings.shipped_registry, settings.user_registry
    return registry.load(shipped, user, without=without, left_out=lambda _: None)


def not_registered(call: Call, name: str) -> UsageError:
    """Return the error for a name under which /finetune has registered no model."""
    user = call.settings.user_registry
    if name in read_entries(user)["models"]:
        return UsageError(
            f"{name} was not written by /finetune register",
            where=str(user),
            hint="Delete the model from registry.yaml by hand.",
        )
    names = [path.stem for path in registry.registered_files(user)]
    known = f"Registered models: {', '.join(names) or 'none'}."
    return UsageError(
        f"there is no registered model {name!r}"
        if name
        else f"/finetune {call.subcommand} needs a name",
        where=str(registry_folder(user)),
        hint=did_you_mean(name, names, cutoff=0.4) or known,
    )


@dataclass(frozen=True, slots=True)
class Registration:
    """The registry entries of a model and its files.

    Attributes:
        model: fields of harness.models.registry.ModelEntry as plain data.
        files: fields of harness.models.registry.FileEntry by id.
    """

    name: str
    model: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]


def own_name(context: StageContext) -> str | None:
    """Return the name that --as-name gives in this or an earlier command of the run.

    The result is None if no command has given --as-name. With --name, an earlier --as-name does not
    count.
    """
    options = context.call.options
    kept = None if options.name else context.run_dir.run.get("as_name")
    name: str | None = options.as_name or kept
    return name


def name_of(context: StageContext) -> str:
    """Return the name of the run's model: `own_name`, or else the name in the recipe.

    Raises:
        UsageError: the name is invalid, or belongs to a shipped model or to the model that the
            training started from.
    """
    name = own_name(context) or context.run_dir.name
    # Without this check, a repeated command would start from the model that it registered before.
    if context.recipe.adapter.start_from in (name, f"{name}-lora"):
        raise UsageError(
            f"the new model would replace {name}, from which it continues",
            hint="Give the new model another name with --as-name.",
        )
    check_name(name, context.call.settings)
    return name


def check_name(name: str, settings: Settings) -> None:
    """Raise UsageError if `name` is invalid for a new model, or the name of a shipped model."""
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

    The model gets the task `annotate` if --default is given, or if the same weights are already
    registered with this task. Without the task, a user selects the model by its name.

    Raises:
        InputError: no model was trained, or the GGUF is missing or older than the training.
        UsageError: as for `name_of`.
    """
    settings, run_dir = context.call.settings, context.run_dir
    train, gguf, name = trained(run_dir), served_gguf(context), name_of(context)
    files = {f"{name}-gguf": file_entry(settings, gguf, file_digest(run_dir, gguf))}
    lora = run_dir.lora
    if context.recipe.base in context.call.models.registry.files and lora.is_file():
        files[f"{name}-lora"] = file_entry(settings, lora, file_digest(run_dir, lora))
    known = read_entries(file_of(settings.user_registry, name))
    was_default = bool(known["models"].get(name, {}).get("tasks")) and (
        known["files"].get(f"{name}-gguf") == files[f"{name}-gguf"]
    )
    model: dict[str, Any] = {
        "summary": f"{context.recipe.base}, fine-tuned to annotate abstracts",
        "tasks": [TASK] if context.call.options.default or was_default else [],
        "form": "tagged",
        "serve": list(_places(context, name, files)),
        "options": {"temperature": 0, "seed": 0},
        "fallback": registry.load(settings.shipped_registry).serving(TASK),
        "trained_on": {"by": BY, "files": list(files), **_origin(context, train)},
        "scores": {
            key: round(train.facts[key], 4)
            for key in ("dev_loss", "loss")
            if isinstance(train.facts.get(key), (int, float)) and math.isfinite(train.facts[key])
        },
    }
    return Registration(name, signed(model), files)


def file_entry(settings: Settings, path: Path, sha256: str) -> dict[str, Any]:
    """Return the registry entry of a file.

    The path is relative to registry.d if the file is below the folder that contains registry.d.
    """
    folder, file = registry_folder(settings.user_registry).resolve(), path.resolve()
    below = file.is_relative_to(folder.parent)
    shown = Path(os.path.relpath(file, folder)).as_posix() if below else str(file)
    return {"path": shown, "sha256": sha256, "size": path.stat().st_size}


def signed(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a model entry with a digest, by which `is_edited` detects later changes."""
    return {**model, "trained_on": {**model["trained_on"], "entry": _digest(model)}}


def is_edited(model: Mapping[str, Any]) -> bool:
    """Return True if a registered entry was changed by hand."""
    return bool(model["trained_on"].get("entry") != _digest(model))


def _digest(model: Mapping[str, Any]) -> str:
    """Return the digest of all fields of a model entry except the stored digest."""
    origin = {key: value for key, value in model["trained_on"].items() if key != "entry"}
    return sha256_of({**model, "trained_on": origin})[:16]


def is_cut(train: Entry) -> bool:
    """Return True if the training ended before the last step of its epochs."""
    return bool(train.facts["steps"] < train.facts["steps_of_all_epochs"])


def trained(run_dir: RunDir) -> Entry:
    """Return the manifest entry of the stage `train`.

    Raises:
        InputError: no model was trained, or a GGUF is older than its inputs.
    """
    train, gguf, quantize = map(run_dir.entry, ("train", "gguf", "quantize"))
    if train is None:
        raise run_dir.needs("train", "nothing is trained here")
    adapter = train.outputs.get(f"{run_dir.adapter.name}/{WEIGHTS}")
    f16 = gguf.outputs.get(run_dir.f16.name) if gguf else None
    pairs = (("gguf", gguf, "adapter", adapter), ("quantize", quantize, "f16", f16))
    for stage, entry, made_of, now in pairs:
        if entry and now and entry.inputs.get(made_of, now.sha256) != now.sha256:
            raise run_dir.needs(stage, f"the output of {stage} is older than its inputs")
    return train


def _places(context: StageContext, name: str, files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the serve entries of a model, best entry first.

    The model at Ollama comes first if it was verified and made from `files`. The merged GGUF is
    next. The base with the adapter is last if `files` contains the adapter.
    """
    tokens = context.recipe.export.num_ctx
    room = {} if tokens == ServeEntry.model_fields["context"].default else {"context": tokens}
    entry = context.run_dir.entry("ollama")
    if entry is not None and entry.facts.get("verified") is True:
        made_of = json.dumps(entry.inputs)
        if any(str(file["sha256"]) in made_of for file in files.values()):
            place = {"backend": "ollama", "model": entry.facts["model"]}
            place |= {"digest": entry.facts["digest"]} if entry.facts.get("digest") else {}
            host = entry.facts.get("host") or DEFAULT_HOST
            yield (place if host == DEFAULT_HOST else place | {"url": host}) | room
    yield {"backend": "llamacpp", "gguf": f"{name}-gguf"} | room
    if (adapter := f"{name}-lora") in files:
        yield {"backend": "llamacpp", "gguf": context.recipe.base, "adapter": adapter} | room


def _origin(context: StageContext, train: Entry) -> dict[str, Any]:
    """Return facts about the training for `trained_on`: data, rows, base, recipe and steps."""
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
        "steps_of_all_epochs": train.facts["steps_of_all_epochs"] if is_cut(train) else None,
        "created": train.created,
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def file_of(user: Path, name: str) -> Path:
    """Return the path of a registered model's file in registry.d."""
    return registry_folder(user) / f"{name}.yaml"


def read_entries(path: Path) -> dict[str, Any]:
    """Return a registry file as plain data; missing `models` or `files` are {}.

    Raises:
        RegistryError: the file cannot be read.
    """
    found = yaml_files.data(path, RegistryError) if path.exists() else None
    if not isinstance(found or {}, dict):
        raise RegistryError("is not a mapping", where=str(path))
    return {"models": {}, "files": {}, **(found or {})}


def is_registered(model: Mapping[str, Any] | None) -> bool:
    """Return True if /finetune register wrote this model entry."""
    return model is not None and (model.get("trained_on") or {}).get("by") == BY
