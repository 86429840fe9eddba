"""Models, backends and applications that do as they are told."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.agent_skills import skill_md
from harness.api import options as skill_options
from harness.api.hookspecs import RegisterBackend, RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill
from harness.errors import UsageError
from harness.models.backends.base import Availability, Model, OnText, Reply, Request, ToolCall
from harness.models.backends.generation import GenerationState
from harness.models.pool import ModelPool, Models
from harness.models.registry import Registry
from harness.models.schema import ModelEntry, ServeEntry
from harness.models.weights import FileStore
from harness.plugins.importer import import_folder
from harness.plugins.loader import PluginHost
from harness.runs.run_log import Run
from harness.runs.runner import Door
from harness.settings import PLUGIN_DEADLINE, Settings
from harness.terminal.console import Screen
from harness.testing.registries import FAKE_REGISTRY

if TYPE_CHECKING:
    from harness.cli.app import App


class FakeModel:
    """A model of prepared replies, given in turn; the last one is repeated.

    A reply is a text, a whole `Reply`, an exception to raise, or a function that makes one of these
    of the request; `calling` makes one that calls tools. `requests` keeps what was asked, in the
    order of arrival; several threads may ask at once. A word is a token.

    Args:
        takes_tools: whether it is told of tools.
        slots: how many generations at once it is good for; an explicit number is served as well.
        context: tokens that a prompt and its answer may have together, or None for no limit known.
    """

    takes_grammar = False
    takes_tools = False

    def __init__(
        self,
        *replies: str | Reply | Exception | Callable[[Request], str | Reply | Exception],
        takes_grammar: bool = False,
        takes_tools: bool = False,
        slots: int = 1,
        context: int | None = None,
    ) -> None:
        self.replies = replies or ("",)
        self.requests: list[Request] = []
        self.takes_grammar = takes_grammar
        self.takes_tools = takes_tools
        self.slots = slots
        self.context = context
        self._arriving = threading.Lock()
        self.digests: Mapping[str, str] = {"fake": "0" * 64}
        self.closed = False

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        with self._arriving:
            reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
            self.requests.append(request)
        if callable(reply):
            reply = reply(request)
        if isinstance(reply, Exception):
            raise reply
        state = GenerationState(request, cancel, on_text)
        text = reply.text if isinstance(reply, Reply) else reply
        for piece in _words(text):
            state.check()
            state.add(piece)
        if isinstance(reply, Reply):
            return reply
        return Reply(text, "stop", self.count_tokens(request), len(text.split()), state.seconds)

    def count_tokens(self, request: Request) -> int:
        return sum(len(message.content.split()) for message in request.conversation)

    def close(self) -> None:
        self.closed = True


def calling(*calls: ToolCall, text: str = "") -> Reply:
    """A reply that calls tools, with what is said before."""
    return Reply(text, "stop", 1, 1, 0.0, tool_calls=calls)


def tool_call(name: str, **arguments: Any) -> ToolCall:
    """A call of the tool `name`."""
    return ToolCall(name, json.dumps(arguments))


class FakeBackend:
    """The backend "fake", which serves one given model, or says why it does not."""

    def __init__(self, model: Model, unavailable: str = "", name: str = "fake") -> None:
        self.name = name
        self.model = model
        self.unavailable = unavailable

    def probe(self, entry: ServeEntry) -> Availability:
        return Availability(not self.unavailable, self.unavailable)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        return self.model


def fake_models(
    model: Model,
    *tasks: str,
    form: Literal["json", "tagged"] = "json",
    model_id: str = "fake-model",
) -> Models:
    """Models in which `model` serves `tasks`."""
    serve = (ServeEntry(backend="fake", model=model_id),)
    registry = Registry(models={model_id: ModelEntry(tasks=tasks, serve=serve, form=form)})
    return Models(ModelPool(registry, {"fake": FakeBackend(model)}))


def fake_settings(folder: Path) -> Settings:
    """Settings whose every folder lies in `folder`."""
    return Settings(
        cache_dir=folder / "cache",
        data_dir=folder / "data",
        config_dir=folder / "config",
        user_registry=folder / "config" / "registry.yaml",
        project_dir=folder,
        strict_plugins=True,
    )


class FakePlugin:
    """A plugin that brings the given skills, and a backend "fake" that serves `model`."""

    def __init__(self, *skills: Skill, backend: FakeBackend | None = None) -> None:
        self._skills = skills
        self._backend = backend

    @hookimpl
    def register_skills(self, register: RegisterSkill) -> None:
        for skill in self._skills:
            register(skill)

    @hookimpl
    def register_backends(self, register: RegisterBackend) -> None:
        if self._backend is not None:
            register(self._backend)


def fake_app(
    folder: Path,
    model: Model | None = None,
    *skills: Skill,
    door: Door | None = None,
    unavailable: str = "",
    plugins: Mapping[str, object] | None = None,
    registry: Path | None = None,
) -> App:
    """An application whose every file lies in `folder`, with `model` behind every task.

    Args:
        skills: more skills than those that ship.
        unavailable: why the model cannot serve, for tests of that.
        plugins: plugins to load besides those that ship, by name.
        registry: the user's registry, in whose stead `FAKE_REGISTRY` is written.
    """
    from harness.cli.app import App

    settings = fake_settings(folder)
    settings.config_dir.mkdir(parents=True, exist_ok=True)
    if registry is not None:
        settings = replace(settings, user_registry=registry)
    else:
        settings.user_registry.write_text(FAKE_REGISTRY, encoding="utf-8")
    backend = FakeBackend(model or FakeModel(), unavailable)
    return App(
        settings,
        door or Door("test"),
        Screen(io.StringIO(), io.StringIO()),
        plugins={"fake": FakePlugin(*skills, backend=backend), **(plugins or {})},
    )


def run_skill(
    skill: Skill,
    text: str = "",
    *,
    model: Model | None = None,
    options: Mapping[str, Any] | None = None,
    form: Literal["json", "tagged"] = "json",
    source: Literal["line", "stdin"] = "line",
    subcommand: str = "",
    settings: Settings | None = None,
    frameworks: Mapping[str, Path] | None = None,
) -> Result:
    """Run `skill` once with `model` (else an empty `FakeModel`) serving every task.

    Raises whatever the skill raises. `options` are the fields of the skill's `Options`.
    """
    models = fake_models(model or FakeModel(), "annotate", "chat", "judge", form=form)
    call = Call(
        text=text,
        options=skill_options.build(skill.Options, options or {}),
        models=models,
        screen=Screen(io.StringIO(), io.StringIO()),
        log=Run(),
        settings=settings or fake_settings(Path.cwd()),
        subcommand=subcommand,
        source=source,
        frameworks=frameworks or {},
    )
    skill_options.check_variant(skill, call.options, skill.variant(call))
    return skill.run(call)


def folder_skill(folder: Path) -> Skill:
    """The skill of a folder with a plugin.py, loaded and checked as the harness does it.

    For a test that lies in that folder: what pytest compiles would keep the folder from being
    trusted, so from here on nothing is compiled into files, and what pytest has left is deleted.

    Raises:
        UsageError: the folder brings no skill of the name that its SKILL.md says.
        Whatever the plugin raises.
    """
    sys.dont_write_bytecode = True
    for compiled in folder.glob("__pycache__/*-pytest-*.pyc"):
        compiled.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not there, or holds something else
        (folder / "__pycache__").rmdir()
    file = skill_md.read(folder / skill_md.FILE)
    name = file.name
    host = PluginHost(FileStore({}, folder, print), deadline=PLUGIN_DEADLINE, strict=True)
    host.load(name, str(folder), partial(import_folder, folder), file)
    if name not in host.catalogue.skills:
        raise UsageError(f"the plugin brings no skill /{name}", where=str(folder))
    return host.catalogue.skills[name].skill


def _words(text: str) -> Iterator[str]:
    start = 0
    for end, char in enumerate(text, start=1):
        if char.isspace() or end == len(text):
            yield text[start:end]
            start = end
