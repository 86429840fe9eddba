"""Define the hooks of plugins, and the events that they receive.

    register_skills      commands
    register_backends    engines and servers that run models
    register_frameworks  named YAML files that define what a skill looks for
    register_formats     file formats for results
    run_started          a run has started
    run_finished         a run has ended: done, failed or interrupted

The `register_` hooks are called once, when the plugin is loaded. An implementation may omit
arguments, but must not add any. docs/hooks.md states what may change in which version.

An event contains the facts of the run log without the user's input, since the line, the text and
the values of options may be private. A plugin that needs them can look up the run by its `id`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import pluggy

from harness.support.calls import Overdue, Raised
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.api.result import Format
    from harness.api.skill import Skill
    from harness.models.backend import Backend
    from harness.models.weights import FileStore

API_VERSION = "1.0"
"""The version of these hooks and of the names that `harness` exports. A plugin declares the version
for which it was written as `harness_api`; it is not loaded if the major version differs.
"""
PROJECT = "harness"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


Hook = Literal["run_started", "run_finished"]
End = Literal["done", "failed", "interrupted"]


class RegisterSkill(Protocol):
    def __call__(self, skill: Skill) -> None: ...


class RegisterBackend(Protocol):
    def __call__(self, backend: Backend) -> None: ...


class RegisterFramework(Protocol):
    def __call__(self, name: str, path: Path) -> None: ...


class RegisterFormat(Protocol):
    def __call__(self, output_format: Format) -> None: ...


@hookspec
def register_skills(register: RegisterSkill) -> None:
    """Call `register(skill)` for each skill of the plugin."""


@hookspec
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    """Call `register(backend)` for each backend; `files` locates and verifies files of weights."""


@hookspec
def register_frameworks(register: RegisterFramework) -> None:
    """Call `register(name, path)` for each framework: a YAML file that skills use by name.

    The harness stores name and path; a skill such as `/annotate --framework NAME` reads the file
    and reports errors in it.
    """


@hookspec
def register_formats(register: RegisterFormat) -> None:
    """Call `register(format)` for each format, which `save to PATH` then accepts by its suffix."""


@hookspec
def run_started(run: RunStarted) -> None:
    """Receive the start of a run, after its line, input and targets were accepted.

    Runs that are not logged are not reported. An exception raised by a hook is shown as a notice
    and never affects the run; the hooks of this plugin are not called again before `/reload`. A
    hook should return immediately.
    """


@hookspec
def run_finished(run: RunFinished) -> None:
    """Receive the end of a run: done, failed or interrupted. The rules of `run_started` apply."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The facts of a run that starts.

    Attributes:
        id: the number of the run in `/logs`, or None if the log cannot be written.
        skill, subcommand: the called command; the subcommand may be "".
        door: the frontend of the run: "one-shot", "repl", "model" for a call by the model, "mcp"
            for another agent, "acp" for an editor, or "test".
        started: the time of the start, in UTC.
    """

    id: int | None
    skill: str
    subcommand: str
    door: str
    started: datetime


@dataclass(frozen=True, slots=True)
class RunFinished(RunStarted):
    """The facts of a run that has ended.

    Attributes:
        exit_code: the exit code, which is 0 only if all work was done.
        seconds: the duration of the run.
        requested, resolved: the ids of the requested and of the serving model, or None if no model
            was needed.
        prompt_tokens, completion_tokens: number of tokens of all generations of the run.
        written: the files that were saved.
        error_type: the name of the class of `harness.errors` that ended the run, or None.
    """

    status: End
    exit_code: int
    seconds: float
    requested: str | None
    resolved: str | None
    prompt_tokens: int
    completion_tokens: int
    written: tuple[Path, ...]
    error_type: str | None


@dataclass(slots=True)
class Listener:
    """A plugin with hooks for runs.

    Attributes:
        call: calls a hook of this plugin only, within a deadline.
        broken: True if a hook raised an exception or timed out, so that no more hooks are called.
    """

    name: str
    origin: str
    call: Callable[[Hook, RunStarted], None]
    broken: bool = False


def notify(listeners: Iterable[Listener], hook: Hook, run: RunStarted, screen: Screen) -> None:
    """Call `hook` of every listener; show failures as notices, without affecting the run.

    Ctrl-C in `run_started` stops the run; in `run_finished` it stops only the listener.
    """
    caught: tuple[type[BaseException], ...] = (Exception, SystemExit)
    if hook == "run_finished":
        caught = (*caught, KeyboardInterrupt)
    for listener in listeners:
        if listener.broken:
            continue
        try:
            with contextlib.redirect_stdout(screen.prints):
                listener.call(hook, run)
        except caught as exc:
            listener.broken = True
            cause = exc.__cause__ or exc if isinstance(exc, Raised) else exc
            reason = f"{type(cause).__name__}: {cause}".partition("\n")[0].removesuffix(": ")
            screen.notice(
                f"plugin {listener.name} receives no more events: its {hook} failed: "
                f"{exc if isinstance(exc, Overdue) else reason} ({listener.origin})"
            )
