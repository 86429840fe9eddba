"""/models: list and download models; /model: choose the chat model."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from harness.api.skill import Call, Impact, Result, SkillOptions
from harness.cli.app_command import AppCommand, CommandData
from harness.errors import ModelUnavailable, UsageError, did_you_mean
from harness.models import hub
from harness.models.pool import Candidate, Choice, Models
from harness.models.registry import FileEntry, Registry, ServeEntry
from harness.models.weights import FileStore
from harness.permissions import consent
from harness.runs import targets
from harness.settings import registry_folder
from harness.terminal.rendering import table

TASK = "chat"
OLLAMA = "Ollama"


class Place(CommandData):
    """A place that serves a model."""

    backend: str
    where: str
    available: bool
    reason: str
    unfit_for: list[str]

    @property
    def use(self) -> str:
        """The availability as text: "yes", "yes, but unfit for TASK, ...", or "no"."""
        if self.available and self.unfit_for:
            return f"yes, but unfit for {', '.join(self.unfit_for)}"
        return "yes" if self.available else "no"


class RegisteredModel(CommandData):
    id: str
    summary: str
    tasks: list[str]
    fallback: str | None
    serve: list[Place]
    trained_on: dict[str, Any]
    scores: dict[str, Any]


class RegisteredModels(CommandData):
    models: list[RegisteredModel]


class Download(CommandData):
    """A model or a file that can be downloaded."""

    name: str
    source: str
    size: int | None
    license: str | None
    tasks: list[str]
    here: bool

    def __str__(self) -> str:
        size = f"{self.size / 1e6:,.0f} MB" if self.size else "size unknown"
        return f"{self.name} ({size}, licence {self.license or 'unknown'}) from {self.source}"


class Downloads(CommandData):
    downloads: list[Download]


class ModelsCommand(AppCommand):
    """The command /models, which probes all serve entries, and downloads models."""

    name = "models"
    summary = "Show all models and whether they can be served now, or download a model"
    usage = "NAME"
    details = """\
    `get` alone lists the models that can be downloaded, with size, licence and tasks. NAME is one
    of these models, or any model in Ollama's library, such as llama3.2:3b. You are asked before the
    download, unless --yes is given.

    `add hf:USER/REPO[@REVISION] [FILE]` downloads the GGUF of a model on the Hugging Face Hub, and
    adds it to your registry with its commit and SHA-256. An adapter in safetensors is downloaded
    for `/finetune --start-from`."""
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "get": "download a model of Ollama's library or of the registry",
        "add": "add a model of the Hugging Face Hub to your registry",
    }
    tool = True
    impact: ClassVar[dict[str, Impact]] = {"": "reads", "get": "adds", "add": "adds"}
    output: ClassVar[dict[str, type[BaseModel]]] = {
        "": RegisteredModels,
        "get": Downloads,
        "add": Downloads,
    }

    def run(self, call: Call) -> Result:
        name = call.text.strip()
        if call.subcommand == "get":
            return self._get(name, call) if name else self._offered()
        if call.subcommand == "add":
            return self._add(name, call)
        if name:
            raise UsageError(
                f"/models takes no text, but found {name[:40]!r}",
                hint="`/models get NAME` downloads a model.",
            )
        models = [
            RegisteredModel(
                id=model_id,
                serve=[self._probed(model_id, serve) for serve in entry.serve],
                **entry.model_dump(include={*RegisteredModel.model_fields} - {"serve"}),
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
        return RegisteredModels(models=models).as_result(table(headers, rows))

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
        """Return the list of downloads, with a line about the model that serves the chat."""
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
        return Downloads(downloads=found).as_result(f"{shown}\n\nchat: {chat}")

    def _downloads(self) -> dict[str, Download]:
        registry, files = self._app.pool.registry, self._app.discovery.files
        found: dict[str, Download] = {}
        for model_id, entry in registry.models.items():
            for serve in entry.serve:
                tasks = [task for task in entry.tasks if task not in serve.unfit_for]
                if serve.backend == "ollama" and serve.model and not serve.gguf:
                    here = self._app.pool.probe(Candidate(model_id, serve)).available
                    one = _download(serve.model, OLLAMA, serve, here=here)
                elif serve.gguf and (file := registry.files[serve.gguf]).origin:
                    here = files.path(serve.gguf).is_file()
                    one = _download(serve.gguf, file.origin, file, here=here)
                else:
                    continue
                one.tasks = sorted({*tasks, *found.get(one.name, one).tasks})
                found[one.name] = one
        return found

    def _get(self, name: str, call: Call) -> Result:
        """Download a model with the user's consent if it is missing; describe its use."""
        name, known = name.removeprefix("ollama/"), self._downloads()
        if name not in known and ":" not in name:
            hint = did_you_mean(name, known) or f"Downloads: {', '.join(known)}, or NAME:TAG."
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
        return Downloads(downloads=[found]).as_result(f"{name} is here. {use}")

    def _add(self, text: str, call: Call) -> Result:
        """Download a model of the Hub with the user's consent; add a GGUF to the registry.

        An adapter in safetensors is downloaded, but not added to the registry.
        """
        import yaml

        from harness.models.gguf_file import open_gguf

        if not text.startswith(hub.SCHEME):
            raise UsageError(
                "/models add needs a model of the Hugging Face Hub",
                hint="Write `/models add hf:USER/REPO[@REVISION]`.",
            )
        reference, _, member = text.partition(" ")
        found = hub.find(reference, member.strip())
        file, origin = found.entry, found.entry.origin
        name = re.sub(r"[^a-z0-9]+", "-", str(file.hub).partition("@")[0].lower()).strip("-")
        one = _download(name, origin, file, here=True)
        path = registry_folder(self._app.settings.user_registry) / f"{name}.yaml"
        action = f"/models add downloads {file.member}, {one}"
        if file.member == hub.PEFT[0]:
            consent(action, call.confirm, yes=call.yes)
            folder = hub.download(file).parent
            text = f"{name} is in {folder}. `/finetune TRAIN.jsonl --start-from {folder}` uses it."
            return Downloads(downloads=[one]).as_result(text)
        known = self._app.pool.registry
        if name in known.models and (name not in known.files or not known.files[name].hub):
            raise UsageError(
                f"{name} is another model", hint="Rename the model with this name in your registry."
            )
        entry = self._entry(name, found)
        consent(f"{action}, and writes {path}", call.confirm, yes=call.yes)
        store = FileStore(entry.files, self._app.discovery.files.cache_dir, call.screen.notice)
        open_gguf(store.ensure(name), ModelUnavailable)
        data = {"version": 1, **entry.model_dump(mode="json", exclude_defaults=True)}
        path.parent.mkdir(parents=True, exist_ok=True)
        targets.write_text(path, yaml.safe_dump(data, sort_keys=False))
        use = f"Use it with `--model {name}` before a line; in a running session, after /reload."
        text = f"{name} is in {path}, with the commit and the SHA-256 of {file.member}. {use}"
        return Downloads(downloads=[one]).as_result(text)

    def _entry(self, name: str, found: hub.HubFile) -> Registry:
        """Return a registry with one model and one file, for a GGUF of the Hub.

        If the GGUF is an adapter, the model is served with the adapter and a file of its base.

        Raises:
            UsageError: no file of the registry is the base of the adapter.
        """
        known, file = self._app.pool.registry.files, found.entry
        place = {"gguf": name}
        if hub.is_lora(str(file.member)):
            bases = [key for key, one in known.items() if one.base_model in found.bases]
            if not bases:
                raise UsageError(
                    f"{file.member} is an adapter for {', '.join(found.bases) or 'a model'}, and "
                    "no file in the registry has this base",
                    hint="Add the GGUF of the base, with base_model, to `files` in your "
                    "registry.yaml.",
                )
            place = {"gguf": bases[0], "adapter": name}
        answers = {"form": "tagged", "options": {"temperature": 0, "seed": 0}}
        model = {
            "summary": f"{file.member} of {file.origin.partition('@')[0]}",
            "tasks": [],
            "serve": [{"backend": "llamacpp", **place}],
            **(answers if hub.ANNOTATOR in found.tags else {}),
        }
        return Registry.model_validate({"models": {name: model}, "files": {name: file}})

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


class ChatModel(CommandData):
    """The chat model, and the place that serves this model; both are None without a model."""

    model: str | None
    where: str | None


class ModelCommand(AppCommand):
    """The command /model, which shows the chat model, or sets it until the process ends."""

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
        default: bool = Field(False, description="use the registry's choice of model again")

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
            return ChatModel(model=None, where=None).as_result(f"chat: no model. {exc.hint}")
        if name:
            app.preferred[TASK] = name
        label = found.chosen.serve.label
        chosen = ChatModel(model=found.resolved, where=label)
        return chosen.as_result(f"chat: {found.resolved} ({label})")
