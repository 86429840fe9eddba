"""The registry: the models, their tasks, and the backends that serve them.

`load` reads models/registry.yaml and overlays the user's own registry and the models that
`/finetune register` added, entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from harness.errors import ModelUnavailable, RegistryError, UsageError
from harness.models.schema import ClusterEntry, FileEntry, ModelEntry, ServeEntry, Strict
from harness.settings import registry_folder
from harness.support.reading.bounded_files import Unsearched, walk
from harness.support.suggestions import did_you_mean


class Registry(Strict):
    """models/registry.yaml: `models` by id and `files` by id.

    Attributes:
        cluster: where jobs run by default.
        registered: when `/finetune register` wrote a file of registry.d; the newest one is tried
            first.
    """

    version: Literal[1] = 1
    registered: AwareDatetime | None = None
    models: Mapping[str, ModelEntry] = {}
    files: Mapping[str, FileEntry] = {}
    cluster: ClusterEntry | None = None

    def overlaid(self, other: Registry) -> Registry:
        """Return this registry with the models and files of `other` added or replaced.

        The models of `other` come first for every task.
        """
        models = {**other.models, **{k: v for k, v in self.models.items() if k not in other.models}}
        cluster = other.cluster or self.cluster
        return Registry(models=models, files={**self.files, **other.files}, cluster=cluster)

    def chain(self, model_id: str) -> tuple[str, ...]:
        """Return `model_id` and its fallbacks, in order."""
        ids: list[str] = []
        current: str | None = model_id
        while current is not None and current not in ids:
            ids.append(current)
            current = self.models[current].fallback
        return tuple(ids)

    def serving(self, task: str) -> str:
        """Return the id of the first model that serves `task`.

        Raises:
            ModelUnavailable: there is none.
        """
        for model_id, entry in self.models.items():
            if task in entry.tasks:
                return model_id
        raise ModelUnavailable(
            f"no model in the registry serves the task {task!r}",
            hint="Add it to the tasks of a model in your registry.yaml.",
        )

    @property
    def names(self) -> dict[str, str]:
        """The ids of the models with their summaries, and BACKEND/NAME of servers with the id."""
        ids = {model_id: entry.summary for model_id, entry in self.models.items()}
        places = ((i, serve) for i, entry in self.models.items() for serve in entry.serve)
        return ids | {f"{s.backend}/{s.model}": i for i, s in places if s.model}

    def named(self, name: str) -> tuple[str, tuple[ServeEntry, ...]]:
        """Return the model id and the entries that `--model NAME` refers to.

        Args:
            name: a model's id, the name of one of its entries, or BACKEND/NAME.

        Raises:
            UsageError: the name is unknown.
        """
        if name in self.models:
            return name, self.models[name].serve
        for model_id, entry in self.models.items():
            found = tuple(serve for serve in entry.serve if name in serve.names)
            if found:  # the user has named the place: any model of that name is meant
                meant = {"digest": None, "gguf": None, "adapter": None}
                return model_id, tuple(
                    serve.model_copy(update=meant) if serve.model else serve for serve in found
                )
        backend, slash, served = name.partition("/")
        if slash and served and backend in ("ollama", "openai"):
            return name, (ServeEntry(backend=backend, model=served),)
        raise UsageError(
            f"no model {name!r} in the registry",
            hint=did_you_mean(name, self.models, cutoff=0.4) or "`/models` lists them.",
        )


def _raise(error: RegistryError) -> None:
    raise error


def load(
    shipped: Path,
    user: Path | None = None,
    *,
    without: Path | None = None,
    left_out: Callable[[RegistryError], None] = _raise,
) -> Registry:
    """Read the shipped registry, and overlay the user's own and the files of its registry.d.

    Args:
        user: the user's registry file; neither it nor the folder beside it has to exist.
        without: a file of the folder to leave out.
        left_out: receives the error of each file of registry.d that cannot be used, which is then
            left out; by default it is raised.

    Raises:
        RegistryError: naming file and line.
    """
    layers = {shipped: _read(shipped)}
    if user is not None:
        if user.exists():
            layers[user] = _read(user)
        added = _read_registered(user, without, left_out)
        layers |= sorted(added.items(), key=lambda item: item[1].registered or _NEVER)
    while True:
        registry, origins = Registry(), dict[str, Path]()
        for path, layer in layers.items():
            registry = registry.overlaid(layer)
            origins |= dict.fromkeys(layer.models, path)
        broken = next(_missing_references(registry, origins), None)
        if broken is None:
            return registry
        path, error = broken
        if path in (shipped, user):
            raise error
        left_out(error)
        del layers[path]


_NEVER = datetime.min.replace(tzinfo=UTC)
MAX_FILES = 1000
"""Maximum number of entries of registry.d."""
MAX_SHOWN = 100
"""Maximum characters of a name in a message."""


def _read_registered(
    user: Path, without: Path | None, left_out: Callable[[RegistryError], None]
) -> dict[Path, Registry]:
    """Read the files of registry.d."""
    found: dict[Path, Registry] = {}
    try:
        paths = registered_files(user)
    except RegistryError as exc:
        left_out(exc)
        return found
    for path in paths:
        if path != without:
            try:
                found[path] = _read(path)
            except RegistryError as exc:
                left_out(exc)
    return found


def registered_files(user: Path) -> list[Path]:
    """Return the files of registry.d, sorted.

    Raises:
        RegistryError: there are too many.
    """
    folder = registry_folder(user)
    try:
        [(_, _, names), *_] = walk(folder, MAX_FILES)
    except Unsearched as exc:
        raise RegistryError(f"cannot be used: {exc}", where=str(folder)) from exc
    return [folder / name for name in names if name.endswith(".yaml")]


def _read(path: Path) -> Registry:
    from harness.support.reading import yaml_models

    registry = yaml_models.load(path, Registry, RegistryError)
    root = path.resolve().parent
    for file in registry.files.values():
        file._root = root
    for model in registry.models.values():
        model._root = root
    return registry


def _missing_references(
    registry: Registry, origins: Mapping[str, Path]
) -> Iterator[tuple[Path, RegistryError]]:
    """Yield an error for each fallback and file that a model names and the registry lacks.

    Args:
        origins: the file of each model.
    """
    from harness.support.reading import yaml_models

    for model_id, path in origins.items():
        for problem, *loc in _missing(registry.models[model_id], registry):
            error = f"{_short(model_id)} {problem}"
            yield (
                path,
                RegistryError(error, where=yaml_models.where(path, "models", model_id, *loc)),
            )


def _missing(entry: ModelEntry, registry: Registry) -> Iterator[tuple[str, *tuple[str | int, ...]]]:
    """Yield what a model names and the registry lacks, and the place within its entry."""
    if entry.fallback is not None and entry.fallback not in registry.models:
        yield f"falls back to {_short(entry.fallback)!r}, which is not a model", "fallback"
    for i, serve in enumerate(entry.serve):
        for role, file_id in serve.files.items():
            if file_id not in registry.files:
                problem = f"is served from {_short(file_id)!r}, which is not in files"
                yield problem, "serve", i, role


def _short(name: str) -> str:
    """Return a name as messages show it, since a file may contain one of any length."""
    return name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
