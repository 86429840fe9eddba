"""The stage `register`, and its undoing: the model in the user's own registry.

What stands there is laid over the registry that ships, entry by entry, and is asked first. So a
model that was trained to its end takes over `/annotate`, and one that was not has no task: only
`--model NAME` asks it.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import UsageError
from harness.models import registry
from harness.runs.process_lock import job_lock
from skills.finetune.deploy.registered import BY, Registration, is_edited, registration_of
from skills.finetune.deploy.registry_file import RegistryFile
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, Work

TASK = "annotate"


def inputs(work: Work) -> Mapping[str, Any]:
    """The entries, and whether they stand in the registry: somebody may have taken them out.

    Raises:
        InputError: there is no GGUF, or it is not the one of the training.
        RegistryError: the registry is broken.
        UsageError: an entry of that name is not ours to replace.
    """
    path, wanted = work.call.settings.user_registry, registration_of(work)
    file = RegistryFile.read(path, work.call.settings.shipped_registry)
    _refuse_to_replace(file, wanted, work)
    return {
        "registry": str(path),
        "name": wanted.name,
        "model": wanted.model,
        "files": wanted.files,
        # What was taken out is written again: no moment at which it is missing is like another.
        "stands": _edited(file, wanted).text == file.text or time.time_ns(),
    }


def perform(work: Work) -> Done:
    """Write the entries into the registry.

    Raises:
        RegistryError: it is broken, or written in a way that cannot be edited.
        UsageError: an entry of that name is not ours to replace, or another process is at it.
        OutputError: it cannot be written.
    """
    settings, wanted = work.call.settings, registration_of(work)
    path, shipped = settings.user_registry, settings.shipped_registry
    with job_lock(settings.data_dir / "locks", str(path.resolve())):
        file = RegistryFile.read(path, shipped)
        _refuse_to_replace(file, wanted, work)
        replaces = wanted.name in file.entries("models")
        written = _edited(file, wanted).save(shipped)
    facts = {
        "registry": str(path),
        "name": wanted.name,
        "written": written,
        "replaced": replaces and written,
        "cut": wanted.cut,
        "tasks": wanted.model["tasks"],
        "places": [" ".join(map(str, place.values())) for place in wanted.model["serve"]],
        "asked_first": _asked_first(path, shipped),
    }
    for line in _said(facts):
        work.call.screen.notice(line)
    return Done([], facts, {"stands": True})


def unregister(call: Call, name: str) -> Result:
    """Take out what `register` has written of the model `name`; no file of weights is touched.

    Raises:
        UsageError: there is no such model, or it was not written by `register`.
        RegistryError: the registry is broken, or would be without it.
        OutputError: it cannot be written.
    """
    settings, name = call.settings, name.strip()
    path, shipped = settings.user_registry, settings.shipped_registry
    with job_lock(settings.data_dir / "locks", str(path.resolve())):
        file = RegistryFile.read(path, shipped)
        models = file.entries("models")
        if name not in models:
            raise _unknown(name, models, path)
        if not _is_ours(models[name]) and not call.force:
            raise UsageError(
                f"{name} was not written by /finetune register",
                where=str(path),
                hint="Take it out by hand.",
            )
        edited, files = _without(file, name)
        edited.save(shipped)
    asked = _asked_first(path, shipped)
    next_one = "the one of that name that ships" if asked == name else asked or "no model"
    text = f"{name} is taken out of {path}. /annotate now asks {next_one} first."
    facts = {"registry": str(path), "name": name, "files": files, "asked_first": asked}
    return Result(f"{text} {_RELOAD}", facts)


STAGE = Stage("register", "make it known to /annotate", inputs, perform)

_RELOAD = "In a session, /reload makes that known."


def _edited(file: RegistryFile, wanted: Registration) -> RegistryFile:
    """With the entries; files of an earlier one that are no longer used go."""
    before = file.entries("models").get(wanted.name)
    file = file.put("models", wanted.name, wanted.model)
    for file_id, entry in reversed(list(wanted.files.items())):  # each is put before the others
        file = file.put("files", file_id, entry)
    for file_id in set(_files_of(before)) - set(wanted.files):
        file = _without_file(file, file_id)
    return file


def _without(file: RegistryFile, name: str) -> tuple[RegistryFile, list[str]]:
    """Without a model and the files that were written with it; and the ids of these."""
    file_ids = [i for i in _files_of(file.entries("models")[name]) if i in file.entries("files")]
    file = file.drop("models", name)
    for file_id in file_ids:
        file = _without_file(file, file_id)
    return file, [file_id for file_id in file_ids if file_id not in file.entries("files")]


def _without_file(file: RegistryFile, file_id: str) -> RegistryFile:
    used = {
        place.get(role)
        for model in file.entries("models").values()
        for place in model["serve"]
        for role in ("gguf", "adapter")
    }
    return file if file_id in used else file.drop("files", file_id)


def _files_of(model: Mapping[str, Any] | None) -> list[str]:
    return list(model["trained_on"].get("files", ())) if _is_ours(model) and model else []


def _is_ours(model: Mapping[str, Any] | None) -> bool:
    return model is not None and (model.get("trained_on") or {}).get("by") == BY


def _refuse_to_replace(file: RegistryFile, wanted: Registration, work: Work) -> None:
    """Refuse to write over what a person has written or changed.

    Raises:
        UsageError: naming it.
    """
    if work.call.force:
        return
    found = file.entries("models").get(wanted.name)
    theirs = [i for i in wanted.files if i in file.entries("files") and i not in _files_of(found)]
    if found is not None and not _is_ours(found):
        what = f"{wanted.name} is there already, and was not written by /finetune register"
    elif found is not None and is_edited(found):
        what = f"{wanted.name} was changed by hand since it was registered"
    elif theirs:
        what = f"the file {theirs[0]} is there already, and was not written by /finetune register"
    else:
        return
    raise UsageError(
        what,
        where=str(file.path),
        hint="--force puts the new one in its place.",
    )


def _asked_first(path: Path, shipped: Path) -> str | None:
    laid = registry.load(shipped, path)
    return next((name for name, entry in laid.models.items() if TASK in entry.tasks), None)


def _said(facts: Mapping[str, Any]) -> list[str]:
    name, asked = facts["name"], facts["asked_first"]
    if not facts["written"]:
        return [f"register: {name} stands in {facts['registry']} as it is"]
    lines = [f"register: {name} is written to {facts['registry']}. {_RELOAD}"]
    if facts["cut"] and not facts["tasks"]:
        lines.append(
            f"register: its training was cut short, so that /annotate goes on with {asked}; "
            f"--model {name} asks it"
        )
    elif asked != name:
        lines.append(f"register: /annotate asks {asked} first, which stands before it")
    return lines


def _unknown(name: str, models: Mapping[str, Any], path: Path) -> UsageError:
    ours = [known for known, entry in models.items() if _is_ours(entry)]
    near = difflib.get_close_matches(name, ours, n=3, cutoff=0.4) or ours
    return UsageError(
        f"there is no model {name!r}" if name else "/finetune unregister needs a model's name",
        where=str(path),
        hint=f"There is {' and '.join(near)}." if near else "`/models` lists them.",
    )
