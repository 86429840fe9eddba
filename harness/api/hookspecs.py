"""Define the hooks of plugins, and the events that the hooks receive.

    register_skills      commands
    register_backends    engines and servers that run models
    register_frameworks  named YAML files that define what a skill looks for
    register_formats     file formats for results
    run_started          a run has started
    run_finished         a run has ended: done, failed or interrupted
    before_tool          a model calls a tool: the hook may refuse the call, or add a note
    after_tool           a call has a result: the hook may withhold the result, or add a note

The `register_` hooks are called once, when the plugin is loaded. An implementation may omit
parameters of a hook, but must not add any. docs/hooks.md states what may change in which version.

The event of a run contains the facts of the run log without the user's input, since the line, the
text and the options may be private. A plugin that needs the input can look up the run by `id`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pluggy

from harness.support.calls import Overdue, Raised
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.api.result import Format
    from harness.api.skill import Skill
    from harness.models.backend import Backend
    from harness.models.weights import FileStore

API_VERSION = "1.0"
"""The version of these hooks and of the names that `harness` exports. The attribute `harness_api`
of a plugin is the version for which the plugin was written. A plugin for another major version, or
for a later minor version, is not loaded.
"""
PROJECT = "harness"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


RunHook = Literal["run_started", "run_finished"]
ToolHook = Literal["before_tool", "after_tool"]
Hook = Literal[RunHook, ToolHook]
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
    """Call `register(backend)` for each backend; `files` locates and verifies model files."""


@hookspec
def register_frameworks(register: RegisterFramework) -> None:
    """Call `register(name, path)` for each framework: a YAML file that skills use by name.

    The harness stores name and path; a skill such as `/annotate --framework NAME` reads the file
    and reports errors in it.
    """


@hookspec
def register_formats(register: RegisterFormat) -> None:
    """Call `register(format)` for each format; `save to PATH` then accepts its suffix."""


@hookspec
def run_started(run: RunStarted) -> None:
    """Receive the start of a run, after its line, input and targets were accepted.

    The hook is not called for runs that are not logged. An exception raised by the hook is shown as
    a notice and never affects the run; the plugin then receives no more events of runs until
    `/reload`. A hook should return immediately.
    """


@hookspec
def run_finished(run: RunFinished) -> None:
    """Receive the end of a run: done, failed or interrupted. The rules of `run_started` apply."""


@hookspec
def before_tool(call: ToolStarted) -> str | None:
    """Check a tool call of the model before the user is asked and the tool runs.

    Raise `NotAllowed(reason)` to refuse the call: the model receives the reason and the name of the
    plugin. Any other exception, or a hook that takes too long, also refuses the call. A text that
    the hook returns is added to the result as a note. The hooks of all plugins are called, then the
    commands of hooks.json, until a hook or a command refuses the call.
    """


@hookspec
def after_tool(call: ToolFinished) -> str | None:
    """Check the result of a call before the model receives it.

    The rules of `before_tool` apply: raise `NotAllowed(reason)` to refuse the result, or return the
    text of a note. A refusal withholds the result, but does not undo the call. The hook is not
    called if the call raised an error, since there is no result.
    """


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call of a tool by the chat model.

    Attributes:
        tool: the name of a skill, of a built-in tool, or of a tool of an MCP server.
        arguments: the arguments that the model has given, except null values.
        line: the line that is shown and recorded for the call.
    """

    tool: str
    arguments: Mapping[str, Any]
    line: str


@dataclass(frozen=True, slots=True)
class ToolFinished(ToolStarted):
    """A tool call that has a result.

    Attributes:
        result: the JSON text that the model will receive.
        exit_code: the exit code of the call.
    """

    result: str
    exit_code: int


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
        requested, resolved: the id of the requested model, and the id of the model that served the
            run; both are None if no model was used.
        prompt_tokens, completion_tokens: numbers of tokens in all prompts and answers.
        written: the files and folders that were saved.
        error_type: the class name of the error that ended the run, such as "InputError", or None.
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
    """A plugin with hooks for runs or calls of tools.

    Attributes:
        call: calls one hook of this plugin within a deadline, and returns the results.
        broken: True if a hook for runs raised an exception or timed out, so that the plugin
            receives no more events of runs.
    """

    name: str
    origin: str
    call: Callable[[Hook, RunStarted | ToolStarted], list[Any]]
    broken: bool = False


def notify(listeners: Iterable[Listener], hook: RunHook, run: RunStarted, screen: Screen) -> None:
    """Call `hook` of every listener that is not broken; a listener that fails becomes broken.

    A failure is shown as a notice, and does not affect the run. Ctrl-C during `run_started` stops
    the run; Ctrl-C during `run_finished` stops only the listener.
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
