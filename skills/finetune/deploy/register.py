"""The stage `register`, and `unregister`: the trained model in the user's registry.

A registered model is a file of its own that overlays the user's registry.yaml. Without a task, only
`--model NAME` selects it. It gets the task `annotate`, and serves `/annotate` by default, with
`--default` or from the stage `compare`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import HarnessError, RegistryError, UsageError, did_you_mean
from harness.models import registry
from harness.settings import Settings, registry_folder
from harness.support.process import job_lock
from skills.finetune.deploy import registry_file
from skills.finetune.deploy.ollama_api import Ollama
from skills.finetune.deploy.registered import TASK, Registration, is_edited, registration_of
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext

_RELOAD = "In a running session, use /reload."


def inputs(context: StageContext) -> Mapping[str, Any]:
    """Return the entries to register, and whether they are registered already.

    Raises:
        InputError: there is no GGUF, or it is older than the training.
        UsageError: the user wrote or changed an entry of that name.
    """
    user, wanted = context.call.settings.user_registry, registration_of(context)
    refuse_to_replace(context.call, wanted.name)
    return {
        "registry": str(user),
        "name": wanted.name,
        "model": wanted.model,
        "files": wanted.files,
        # An entry that was removed must be written again: a time is never equal to an earlier one.
        "stands": _stands(context.call, wanted, _is_chosen(context)) or time.time_ns(),
    }


def perform(context: StageContext) -> Done:
    """Write the model to registry.d.

    Raises:
        RegistryError: entries of an earlier version cannot be moved there.
        UsageError: the user wrote or changed an entry of that name, or another process is
            registering.
        OutputError: the file cannot be written.
    """
    wanted = registration_of(context)
    facts = add(context.call, wanted, chosen=_is_chosen(context))
    return Done([], facts, {"stands": True})


def add(call: Call, wanted: Registration, *, chosen: bool) -> dict[str, Any]:
    """Write a model to registry.d, and return what was done.

    Args:
        chosen: the model is tried first for its tasks.

    Raises:
        Errors of `perform`.
    """
    user = call.settings.user_registry
    path = registry_file.file_of(user, wanted.name)
    with _lock(call.settings):
        _migrate(call)
        refuse_to_replace(call, wanted.name)
        known, written = wanted.name in _models(user), not _stands(call, wanted, chosen)
        if written:  # the latest default is the one that serves
            now, before = datetime.now(UTC), registry_file.read(path).get("registered")
            registered = now if chosen else before or now
            models = {wanted.name: wanted.model}
            registry_file.write(path, models, wanted.files, registered)
    facts = {
        "registry": str(path),
        "name": wanted.name,
        "written": written,
        "replaced": known and written,
        "default": bool(wanted.model["tasks"]),
        "places": [" ".join(map(str, place.values())) for place in wanted.model["serve"]],
    }
    done = f"is written to {path}. {_RELOAD}" if written else f"is unchanged in {path}"
    call.screen.notice(f"register: {wanted.name} {done}")
    return facts


def unregister(call: Call, name: str) -> Result:
    """Remove a registered model from the registry, and from Ollama if the user agrees.

    Files of weights are kept.

    Raises:
        UsageError: there is no such model, or `/finetune register` did not write it.
        RegistryError: another model needs it.
    """
    settings, name = call.settings, name.strip()
    user = settings.user_registry
    path = registry_file.file_of(user, name)
    with _lock(settings):
        _migrate(call)
        found = registry_file.read(path)
        if name not in found["models"]:
            raise _not_registered(name, user)
        if not registry_file.is_registered(found["models"][name]) and not call.force:
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
    text = f"{name} is removed from the registry ({path}). /annotate now tries {first} first."
    facts = {"registry": str(path), "name": name, "files": [*found["files"]], "asked_first": first}
    removals = list(_at_ollama(call, found["models"][name]))
    return Result("\n".join([f"{text} {_RELOAD}", *removals]), {**facts, "ollama": removals})


def _at_ollama(call: Call, model: Mapping[str, Any]) -> Iterator[str]:
    """Offer to remove a model from the Ollama servers that served it; yield what was done.

    `--yes` answers only for a model that has the digest of the entry: earlier entries state none,
    and any model may have the name by now.
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
        except HarnessError as exc:  # the registry is already changed
            yield f"{name} may still be at Ollama: {exc.message}."


STAGE = Stage("register", "add the model to your registry", inputs, perform)


def _lock(settings: Settings) -> AbstractContextManager[None]:
    return job_lock(settings.data_dir / "locks", str(settings.user_registry.resolve()))


def _migrate(call: Call) -> None:
    user = call.settings.user_registry
    if moved := registry_file.migrate(user):
        call.screen.notice(
            f"register: moved {', '.join(moved)} from {user} to {registry_folder(user)}"
        )


def _models(user: Path) -> dict[str, Any]:
    """Return the user's own models, registered or not, of all files that can be read."""
    models: dict[str, Any] = registry_file.read(user)["models"]
    for path in registry.registered_files(user):
        with contextlib.suppress(RegistryError):
            models |= registry_file.read(path)["models"]
    return models


def _stands(call: Call, wanted: Registration, chosen: bool) -> bool:
    """Return True if the model is registered as wanted, and if chosen, is the first one."""
    found = registry_file.read(registry_file.file_of(call.settings.user_registry, wanted.name))
    written = (found["models"], found["files"]) == ({wanted.name: wanted.model}, wanted.files)
    tasks = wanted.model["tasks"]
    return written and (
        not chosen or all(first_model(call.settings, task) == wanted.name for task in tasks)
    )


def _is_chosen(context: StageContext) -> bool:
    return bool(getattr(context.call.options, "default", False))


def refuse_to_replace(call: Call, name: str) -> None:
    """Raise UsageError if registering would replace what the user wrote or changed."""
    user = call.settings.user_registry
    if call.force:
        return
    found = _models(user).get(name)
    if found is not None and not registry_file.is_registered(found):
        what = f"{name} exists already, and was not written by /finetune register"
    elif found is not None and is_edited(found):
        what = f"{name} was changed by hand since it was registered"
    else:
        return
    raise UsageError(what, where=str(user), hint="--force replaces it.")


def _errors(settings: Settings, without: Path | None = None) -> list[RegistryError]:
    """Return the errors of the user's registry files, without one of registry.d."""
    errors: list[RegistryError] = []
    shipped, user = settings.shipped_registry, settings.user_registry
    try:
        registry.load(shipped, user, without=without, left_out=errors.append)
    except RegistryError as exc:
        errors.append(exc)
    return errors


def first_model(settings: Settings, task: str = TASK) -> str | None:
    """Return the model that is tried first for a task, by default the one of /annotate."""
    shipped, user = settings.shipped_registry, settings.user_registry
    models = registry.load(shipped, user, left_out=lambda _: None).models
    return next((name for name, entry in models.items() if task in entry.tasks), None)


def _not_registered(name: str, user: Path) -> UsageError:
    if name in registry_file.read(user)["models"]:
        return UsageError(
            f"{name} was not written by /finetune register",
            where=str(user),
            hint="Delete it from the file by hand.",
        )
    names = [path.stem for path in registry.registered_files(user)]
    known = f"Registered models: {', '.join(names) or 'none'}."
    return UsageError(
        f"there is no registered model {name!r}" if name else "/finetune unregister needs a name",
        where=str(registry_folder(user)),
        hint=did_you_mean(name, names, cutoff=0.4) or known,
    )
