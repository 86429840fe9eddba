"""The events of a run that plugins receive; a listener that fails receives no more of them.

The facts are those of the run log without the user's input: the line, the text and the values of
options may be private. A plugin that needs them looks the run up by its `id`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from harness.support.stopping.timeouts import Overdue, Raised
from harness.terminal.console import Screen

Hook = Literal["run_started", "run_finished"]
End = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """What is known of a run when it starts.

    Attributes:
        id: its number in `/logs`, or None if the log cannot be written.
        skill, subcommand: what was called; the second may be "".
        door: "one-shot", "repl", "model" for a call by the model, or "test".
        started: in UTC.
    """

    id: int | None
    skill: str
    subcommand: str
    door: str
    started: datetime


@dataclass(frozen=True, slots=True)
class RunFinished(RunStarted):
    """What is known of a run when it has ended.

    Attributes:
        exit_code: 0 only if all work was done.
        seconds: wall time.
        requested, resolved: the ids of the requested model and of the one that served, or None if
            no model was needed.
        prompt_tokens, completion_tokens: of all generations of the run.
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
    """A plugin with hooks of runs.

    Attributes:
        call: calls a hook of this plugin only, within a deadline.
        broken: a hook raised or timed out, and no more are called.
    """

    name: str
    origin: str
    call: Callable[[Hook, RunStarted], None]
    broken: bool = False


def notify(listeners: Iterable[Listener], hook: Hook, run: RunStarted, screen: Screen) -> None:
    """Call `hook` of every listener; a failure is shown as a notice and never affects the run.

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
            screen.notice(
                f"plugin {listener.name} receives no more events: its {hook} failed: "
                f"{_reason(exc)} ({listener.origin})"
            )


def _reason(exc: BaseException) -> str:
    if isinstance(exc, Overdue):
        return str(exc)
    if isinstance(exc, Raised):
        exc = exc.__cause__ or exc
    return f"{type(exc).__name__}: {exc}".partition("\n")[0].removesuffix(": ")
