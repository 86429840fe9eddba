"""Test utilities for plugins: fake models, calls of a skill, applications, and assertions.

model = FakeModel('{"mood": "calm"}')
result = run_skill(MySkill(), "some text", model=model)
assert model.requests[0].messages[-1].content == "some text"

model = FakeModel(calling(tool_call("mine", text="a")), "Done.", takes_tools=True)
assert fake_app(tmp_path, model, MySkill()).dispatch("do it").result.text == "Done."

app = fake_app(tmp_path, model, MySkill())
assert_refuses(app, "/mine --max ten", "--max: 'ten' should be a valid integer")
assert assert_saves(app, "/mine some text", tmp_path / "mood.json").read_text()
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from harness.agent_skills import skill_md
from harness.agent_skills.skill_file import FILE
from harness.api import options as skill_options
from harness.api.hookspecs import RegisterBackend, RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill
from harness.errors import HarnessError, UsageError
from harness.models.backend import Availability, Model, OnText, Reply, Request, ToolCall
from harness.models.backends.generation import GenerationState
from harness.models.pool import ModelPool, Models
from harness.models.registry import ModelEntry, Registry, ServeEntry, load
from harness.models.weights import FileStore
from harness.plugins.catalogue import Catalogue
from harness.plugins.loader import PluginHost, import_folder
from harness.runs.frontend import Frontend
from harness.runs.run_log import Run
from harness.settings import PLUGIN_DEADLINE, Settings
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.cli.app import App

__all__ = [
    "FAKE_REGISTRY",
    "FakeBackend",
    "FakeModel",
    "FakePlugin",
    "Shown",
    "assert_refuses",
    "assert_saves",
    "calling",
    "fake_app",
    "fake_models",
    "fake_settings",
    "folder_skill",
    "one_shot",
    "run_skill",
    "session",
    "temporary_registry",
    "tool_call",
]
FAKE_REGISTRY = """\
version: 1
models:
  nanda-annotator:
    tasks: [annotate]
    serve: [{backend: fake, model: annotator}]
    fallback: producer
  producer:
    tasks: [chat, judge]
    serve: [{backend: fake, model: producer}]
"""


class FakeModel:
    """A model with prepared replies, which are returned in turn; the last reply is repeated.

    A reply is a text, a `Reply`, an exception to raise, or a function that returns one of these for
    a request; `calling` returns a reply that calls tools. `requests` contains the requests in order
    of arrival, even from several threads. A word counts as a token.

    Args:
        takes_grammar: True if requests may contain a grammar for the answer.
        takes_tools: True if requests may contain tools.
        slots: number of parallel generations.
        context: maximum number of tokens of a prompt and its answer, or None if unknown.
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
        self, request: Request, on_text: OnText | None = None, cancel: threading.Event | None = None
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
        for piece in re.findall(r"\S*\s|\S+", text):
            state.check()
            state.add(piece)
        state.flush()
        if isinstance(reply, Reply):
            return reply
        return Reply(text, "stop", self.count_tokens(request), len(text.split()), state.seconds)

    def count_tokens(self, request: Request) -> int:
        return sum(len(message.content.split()) for message in request.conversation)

    def close(self) -> None:
        self.closed = True


def calling(*calls: ToolCall, text: str = "") -> Reply:
    """Return a reply that contains `text` and calls tools."""
    return Reply(text, "stop", 1, 1, 0.0, tool_calls=calls)


def tool_call(name: str, **arguments: Any) -> ToolCall:
    """Return a call of the tool `name` with `arguments`."""
    return ToolCall(name, json.dumps(arguments))


class FakeBackend:
    """A backend that serves `model`, unless `unavailable` states why it cannot serve."""

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
    form: Literal["json", "tagged", "quotes"] = "json",
    model_id: str = "fake-model",
) -> Models:
    """Return `Models` in which `model` serves `tasks`."""
    serve = (ServeEntry(backend="fake", model=model_id),)
    registry = Registry(models={model_id: ModelEntry(tasks=tasks, serve=serve, form=form)})
    return Models(ModelPool(registry, {"fake": FakeBackend(model)}))


def fake_settings(folder: Path) -> Settings:
    """Return settings with `folder` as the project and with the user's folders in `folder`."""
    return Settings(
        cache_dir=folder / "cache",
        data_dir=folder / "data",
        config_dir=folder / "config",
        user_registry=folder / "config" / "registry.yaml",
        project_dir=folder,
        strict_plugins=True,
    )


class FakePlugin:
    """A plugin with skills and an optional backend."""

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
    door: Frontend | None = None,
    unavailable: str = "",
    plugins: Mapping[str, object] | None = None,
    registry: Path | None = None,
) -> App:
    """Return an application that keeps its files in `folder`; `model` serves every task.

    Args:
        model: the model; by default, a `FakeModel` with empty replies.
        skills: additional skills.
        unavailable: a reason why the model cannot serve, for tests of this case.
        plugins: additional plugins, by name.
        door: the frontend of the application.
        registry: the user's registry; default: a file with `FAKE_REGISTRY`.
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
        door or Frontend("test"),
        Screen(io.StringIO(), io.StringIO()),
        plugins={"fake": FakePlugin(*skills, backend=backend), **(plugins or {})},
    )


def run_skill(
    skill: Skill,
    text: str = "",
    *,
    model: Model | None = None,
    options: Mapping[str, Any] | None = None,
    form: Literal["json", "tagged", "quotes"] = "json",
    source: Literal["line", "stdin"] = "line",
    subcommand: str = "",
    settings: Settings | None = None,
    frameworks: Mapping[str, Path] | None = None,
) -> Result:
    """Run `skill` once with `model`, and return the result.

    The default `model` gives empty replies. `options` are values of the skill's `Options`, by
    alias or field. Errors of the skill are raised.
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
    """Load, check and return the skill of a folder with a plugin.py, as the harness does.

    The function is meant for tests in this folder. Compiled files of Python would change
    the content of the folder, and so end the user's trust. Therefore the function deletes compiled
    files of the tests, and Python writes no new compiled files.

    Raises:
        UsageError: the plugin cannot be used, or has no skill with the name in SKILL.md.
        Exception: raised by the code of the plugin.
    """
    sys.dont_write_bytecode = True
    for compiled in folder.glob("__pycache__/*-pytest-*.pyc"):
        compiled.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # raised if the folder does not exist, or is not empty
        (folder / "__pycache__").rmdir()
    file = skill_md.read(folder / FILE)
    name = file.name
    catalogue = Catalogue(strict=True)
    host = PluginHost(catalogue, FileStore({}, folder, print), PLUGIN_DEADLINE)
    host.load(name, str(folder), partial(import_folder, folder), file)
    if name not in catalogue.skills:
        raise UsageError(f"the plugin has no skill /{name}", where=str(folder))
    return catalogue.skills[name].skill


@contextlib.contextmanager
def temporary_registry(models: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Yield a temporary registry file, for `--registry FILE` or `fake_app(registry=FILE)`.

    Args:
        models: registry entries by model id; by default, the entries of `FAKE_REGISTRY`.

    Raises:
        RegistryError: an entry is invalid.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.yaml"
        text = FAKE_REGISTRY if models is None else yaml.safe_dump({"models": dict(models)})
        path.write_text(text, encoding="utf-8")
        load(path)
        yield path


@dataclass(frozen=True, slots=True)
class Shown:
    """The output of executed lines: `out` is stdout, `err` is stderr, `code` is the exit code."""

    out: str
    err: str
    code: int = 0


def one_shot(app: App, *lines: str) -> Shown:
    """Run lines one after the other, as `agent.py` does, and return their output."""
    from harness.cli import main

    _capture(app)
    code = main.run_lines(app, lines)
    return _shown(app, code)


def session(app: App, *lines: str) -> Shown:
    """Type lines into a session, end the session, and return its output."""
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from harness.cli.interactive_session import Repl

    _capture(app)
    with create_pipe_input() as keys:
        # Lines are pasted, so that they may contain line breaks.
        keys.send_text("".join(f"\x1b[200~{line}\x1b[201~\r" for line in lines) + "\x04")
        Repl(app, keys, DummyOutput()).run()
    return _shown(app)


def _capture(app: App) -> None:
    app.screen.out, app.screen.err = io.StringIO(), io.StringIO()


def _shown(app: App, code: int = 0) -> Shown:
    out, err = app.screen.out, app.screen.err
    assert isinstance(out, io.StringIO)
    assert isinstance(err, io.StringIO)
    return Shown(out.getvalue(), err.getvalue(), code)


def assert_refuses(app: App, line: str, *words: str, code: int = 2) -> HarnessError:
    """Assert that `line` is refused before any model request and any change of a file.

    Args:
        words: parts of the error message, in this order.
        code: the expected exit code.

    Returns:
        The error.
    """
    requests, files = _requests(app), _files(app)
    error = _error(app, line)
    message, place = str(error), 0
    assert error.exit_code == code, f"exit code {error.exit_code}, not {code}: {message}"
    for word in words:
        found = message.find(word, place)
        assert found >= 0, f"{word!r} is not in {message[place:]!r}"
        place = found + len(word)
    assert _requests(app) == requests, f"{line!r} was refused after a model request: {message}"
    changed = sorted(str(path) for path, _ in _files(app) ^ files)
    assert not changed, f"{line!r} was refused after changing {', '.join(changed)}: {message}"
    return error


def assert_saves(app: App, line: str, path: Path) -> Path:
    """Assert that `line` with `save to PATH` saves a file without errors; return `path`."""
    outcome = app.dispatch(f'{line} save to "{path}"')
    assert outcome.result.code == 0, f"exit code {outcome.result.code}: {outcome.result.stopped}"
    assert path in outcome.saved, f"saved {[str(p) for p in outcome.saved]}, not {path}"
    assert path.is_file(), f"{path} does not exist"
    assert path.stat().st_size, f"{path} is empty"
    left = [found.name for found in path.parent.glob(".*.tmp")]
    assert not left, f"temporary files left: {', '.join(left)}"
    return path


def _error(app: App, line: str) -> HarnessError:
    try:
        app.dispatch(line)
    except HarnessError as error:
        return error
    raise AssertionError(f"{line!r} was not refused")


def _requests(app: App) -> int:
    """Return the number of requests to the fake models of the application."""
    backends = (b for b in app.pool.backends.values() if isinstance(b, FakeBackend))
    models = (b.model for b in backends if isinstance(b.model, FakeModel))
    return sum(len(model.requests) for model in models)


def _files(app: App) -> set[tuple[Path, int]]:
    """Return the path and modification time of each project file, except the harness's files."""
    settings = app.settings
    own = (settings.cache_dir, settings.data_dir, settings.config_dir)
    return {
        (path, path.stat().st_mtime_ns)
        for path in settings.project_dir.rglob("*")
        if path.is_file() and not any(path.is_relative_to(folder) for folder in own)
    }
