"""Which models exist, what they are for, where they are served, and who serves a task.

`load` reads models/registry.yaml and overlays the user's own registry and the models that
`/finetune register` added, entry by entry.
`resolve` is pure: registry and probed availability in, the choice and all it passed over out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from harness.errors import ModelUnavailable, RegistryError, UsageError
from harness.models.schema import FileEntry, ModelEntry, ServeEntry, Strict
from harness.settings import registry_folder
from harness.support.suggestions import did_you_mean


class Registry(Strict):
    """models/registry.yaml: `models` by id and `files` by id.

    Attributes:
        registered: when `/finetune register` wrote a file of registry.d; the newest one is tried
            first.
    """

    version: Literal[1] = 1
    registered: AwareDatetime | None = None
    models: Mapping[str, ModelEntry] = {}
    files: Mapping[str, FileEntry] = {}

    def overlaid(self, other: Registry) -> Registry:
        """This registry with the models and files of `other` added or put in their place.

        A task is asked of the overlaid registry's own models first.
        """
        models = {**other.models, **{k: v for k, v in self.models.items() if k not in other.models}}
        return Registry(models=models, files={**self.files, **other.files})

    def chain(self, model_id: str) -> tuple[str, ...]:
        """`model_id` and its fallbacks, in order."""
        ids: list[str] = []
        current: str | None = model_id
        while current is not None and current not in ids:
            ids.append(current)
            current = self.models[current].fallback
        return tuple(ids)

    def serving(self, task: str) -> str:
        """The id of the first model that serves `task`."""
        for model_id, entry in self.models.items():
            if task in entry.tasks:
                return model_id
        raise ModelUnavailable(
            f"no model in the registry serves the task {task!r}",
            hint="Add it to a model's tasks in your registry.yaml",
        )

    def named(self, name: str) -> tuple[str, tuple[ServeEntry, ...]]:
        """What `--model NAME` means: a model's id, one of its servers' names, or BACKEND/NAME.

        Returns: the id it is recorded under, and the entries that may serve it.
        """
        if name in self.models:
            return name, self.models[name].serve
        for model_id, entry in self.models.items():
            found = tuple(serve for serve in entry.serve if name in serve.names)
            if found:
                return model_id, found
        backend, slash, served = name.partition("/")
        if slash and served and backend in ("ollama", "openai"):
            return name, (ServeEntry(backend=backend, model=served),)
        raise UsageError(
            f"no model {name!r} in the registry",
            hint=did_you_mean(name, self.models, cutoff=0.4) or "`/models` lists them.",
        )


def load(shipped: Path, user: Path | None = None, *, without: Path | None = None) -> Registry:
    """Read the shipped registry, and overlay the user's own and the files of its registry.d.

    Args:
        user: the user's registry file; neither it nor the folder beside it has to exist.
        without: a file of the folder to leave out.

    Raises:
        RegistryError: naming file and line.
    """
    layers = {shipped: _read(shipped)}
    if user is not None:
        if user.exists():
            layers[user] = _read(user)
        paths = sorted(registry_folder(user).glob("*.yaml"))
        added = {path: _read(path) for path in paths if path != without}
        layers |= sorted(added.items(), key=lambda item: item[1].registered or _NEVER)
    registry, origins = Registry(), dict[str, Path]()
    for path, layer in layers.items():
        registry = registry.overlaid(layer)
        origins |= dict.fromkeys(layer.models, path)
    for model_id, path in origins.items():
        _check_references(registry, model_id, path)
    return registry


_NEVER = datetime.min.replace(tzinfo=UTC)


def _read(path: Path) -> Registry:
    from harness.support import yaml_models

    registry = yaml_models.load(path, Registry, RegistryError)
    root = path.resolve().parent
    for file in registry.files.values():
        file._root = root
    for model in registry.models.values():
        model._root = root
    return registry


def _check_references(registry: Registry, model_id: str, path: Path) -> None:
    """Raise RegistryError if a model of the file `path` names a missing fallback or file."""
    from harness.support import yaml_models

    entry = registry.models[model_id]
    if entry.fallback is not None and entry.fallback not in registry.models:
        raise RegistryError(
            f"{model_id} falls back to {entry.fallback!r}, which is not a model",
            where=yaml_models.where(path, "models", model_id, "fallback"),
        )
    for i, serve in enumerate(entry.serve):
        for role, file_id in (("gguf", serve.gguf), ("adapter", serve.adapter)):
            if file_id is not None and file_id not in registry.files:
                raise RegistryError(
                    f"{model_id} is served from {file_id!r}, which is not in files",
                    where=yaml_models.where(path, "models", model_id, "serve", i, role),
                )


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place that could serve one model."""

    model_id: str
    serve: ServeEntry


@dataclass(frozen=True, slots=True)
class Skipped:
    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """Who serves a task, and everyone passed over on the way.

    `requested` is the model the task asked for and `chosen` the place that serves it. `fell_back`
    tells whether that is another model, and `reason` then says why.
    """

    task: str
    requested: str
    chosen: Candidate
    skipped: tuple[Skipped, ...] = ()

    @property
    def resolved(self) -> str:
        return self.chosen.model_id

    @property
    def fell_back(self) -> bool:
        return self.requested != self.resolved

    @property
    def reason(self) -> str:
        """Why the requested model does not serve, or "" if it does."""
        own = [s for s in self.skipped if s.candidate.model_id == self.requested]
        if not self.fell_back:
            return ""
        return "; ".join(f"{s.candidate.serve.label}: {s.reason}" for s in own)


def candidates(
    registry: Registry, task: str, *, model: str | None = None, fallback: bool = True
) -> Iterator[Candidate]:
    """Every place that may serve `task`, best first.

    An explicit `model` is never replaced by another one; `fallback=False` asks for the same of the
    task's own model.
    """
    if model is not None:
        model_id, entries = registry.named(model)
        yield from (Candidate(model_id, entry) for entry in entries)
        return
    chain = registry.chain(registry.serving(task))
    for model_id in chain if fallback else chain[:1]:
        yield from (Candidate(model_id, entry) for entry in registry.models[model_id].serve)


def resolve(
    registry: Registry,
    task: str,
    unavailable: Mapping[Candidate, str],
    *,
    model: str | None = None,
    fallback: bool = True,
) -> Resolution:
    """Choose who serves `task`: the first candidate that is not in `unavailable`.

    Args:
        unavailable: the candidates that cannot serve, each with its reason.

    Raises:
        ModelUnavailable: nobody can; the message lists every candidate with its reason.
        UsageError: `model` names nothing.
    """
    skipped: list[Skipped] = []
    requested = ""
    for candidate in candidates(registry, task, model=model, fallback=fallback):
        requested = requested or candidate.model_id
        if candidate not in unavailable:
            return Resolution(task, requested, candidate, tuple(skipped))
        skipped.append(Skipped(candidate, unavailable[candidate]))
    reasons = "; ".join(
        f"{s.candidate.model_id} ({s.candidate.serve.label}): {s.reason}" for s in skipped
    )
    raise ModelUnavailable(
        f"no model could serve {task}: {reasons}", hint="`/models` shows what is available."
    )
