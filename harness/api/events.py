"""What plugins are told of runs, and how: one that breaks is told nothing more.

The facts are those of the run log without what the user wrote: the line, the text and the options'
values may be private. A plugin that needs them looks the run up by its `id`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from harness.support.timeouts import Overdue, Raised
from harness.terminal.console import Screen
from harness.terminal.process_state import put_back

Hook = Literal["run_started", "run_finished"]
End = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """What is known of a run when it begins.

    Attributes:
        id: its number in `/logs`, or None where the log cannot be written.
        skill, subcommand: what was asked for; the second may be "".
        door: "one-shot", "repl", "model" for what the model has called, or "test".
        started: when, in UTC.
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
        exit_code: 0 only where all was done.
        seconds: wall time.
        requested, resolved: the ids of the model asked for and of the one that served, or None
            where no model was needed.
        prompt_tokens, completion_tokens: of all generations of the run.
        written: the files that were put in place.
        error_type: the class of `harness.errors` that ended it, by name, or None.
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
    """A plugin that has hooks of runs.

    Attributes:
        call: calls the hook of that plugin alone, and waits for it no longer than a deadline.
        broken: it has raised or took too long, and is told nothing more.
    """

    name: str
    origin: str
    call: Callable[[Hook, RunStarted], None]
    broken: bool = False


def tell(listeners: Iterable[Listener], hook: Hook, run: RunStarted, screen: Screen) -> None:
    """Call `hook` of every listener; what one of them does wrong is a notice and goes no further.

    Ctrl-C stops a run that begins. One that has ended keeps its end, and only the listener stops.
    """
    faults: tuple[type[BaseException], ...] = (Exception, SystemExit)
    if hook == "run_finished":
        faults = (*faults, KeyboardInterrupt)
    for listener in listeners:
        if listener.broken:
            continue
        try:
            with contextlib.redirect_stdout(screen.prints), put_back(_noticed(listener, screen)):
                listener.call(hook, run)
        except faults as exc:
            listener.broken = True
            screen.notice(
                f"plugin {listener.name} is told of no more runs: its {hook} broke: {_reason(exc)} "
                f"({listener.origin})"
            )


def _noticed(listener: Listener, screen: Screen) -> Callable[[str], None]:
    """Says what a listener changed of the process."""
    return lambda changed: screen.notice(f"plugin {listener.name} {changed} ({listener.origin})")


def _reason(exc: BaseException) -> str:
    """What a listener did wrong, in one line."""
    if isinstance(exc, Overdue):
        return str(exc)
    if isinstance(exc, Raised):
        exc = exc.__cause__ or exc
    return f"{type(exc).__name__}: {exc}".partition("\n")[0].removesuffix(": ")
