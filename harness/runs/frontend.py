"""What a frontend passes to a run, and what it gets back."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from harness.errors import HarnessError, InputError, InternalError
from harness.support.stopping import ctrl_c
from harness.terminal.console import OnProgress, Screen

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.api.skill import Result

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frontend:
    """Where lines come from, and whether the user can be asked.

    Attributes:
        name: "one-shot", "repl", "model", "mcp" or "test", for the run log.
        confirm: asks the user a yes-or-no question; None if there is nobody to ask.
        stdin: read for `-` and for missing text; None if it is missing or a terminal.
        choose: asks the user a question with the given answers, and returns one of them, or "" if
            the user gave none; None if there is nobody to ask.
        ask: asks the user a question and returns the answer as typed; None if there is nobody to
            ask.
        is_model: the invocations come from a model, so the user is asked before changes.
    """

    name: str
    confirm: Callable[[str], bool] | None = None
    stdin: IO[bytes] | None = None
    is_model: bool = False
    choose: Callable[[str, Sequence[str]], str] | None = None
    ask: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a line for the frontend to show.

    Attributes:
        saved: the files written.
        emitted: whether the result's text has already been printed piece by piece.
        line_ended: whether that ended with a line feed.
    """

    result: Result
    general: GeneralOptions
    saved: tuple[Path, ...] = ()
    emitted: bool = False
    line_ended: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a line is run for.

    Attributes:
        cancel: an event that stops the run, or None.
    """

    frontend: Frontend
    screen: Screen
    cancel: threading.Event | None = None

    def replaced(
        self,
        frontend: Frontend | None,
        screen: Screen | None,
        cancel: threading.Event | None,
        progress: OnProgress | None,
    ) -> Caller:
        """Return a caller that differs in what is given."""
        screen = screen or self.screen
        return Caller(
            frontend or self.frontend,
            screen if progress is None else screen.like(on_progress=progress),
            cancel or self.cancel,
        )

    def for_model(self) -> Caller:
        """Return the caller of what a model calls: it cannot read stdin or write to stdout."""
        asked = self.frontend
        name = asked.name if asked.is_model else "model"
        frontend = Frontend(name, asked.confirm, is_model=True, choose=asked.choose, ask=asked.ask)
        return Caller(frontend, self.screen.like(io.StringIO()), self.cancel)


class Callers:
    """The callers of the lines that the threads of this process run.

    Attributes:
        own: the caller of lines that name no other.
    """

    def __init__(self, own: Caller) -> None:
        self.own = own
        self._of_thread = threading.local()

    @property
    def current(self) -> Caller:
        """The caller of the line that this thread runs."""
        return getattr(self._of_thread, "caller", None) or self.own

    @property
    def general(self) -> GeneralOptions | None:
        """The general options of the last line that this thread ran for a user."""
        return getattr(self._of_thread, "general", None)

    @general.setter
    def general(self, general: GeneralOptions) -> None:
        self._of_thread.general = general

    @contextlib.contextmanager
    def calling(self, caller: Caller) -> Iterator[None]:
        """Let `caller` be the current one of this thread within the block."""
        before = getattr(self._of_thread, "caller", None)  # None: `own`, which may be replaced
        self._of_thread.caller = caller
        try:
            yield
        finally:
            self._of_thread.caller = before


def in_shell(line: str) -> str:
    """Return the shell command that runs a line, as this process was started."""
    program = Path(sys.argv[0]).name
    if program.endswith(".py"):  # the scripts of the lesson take no line
        program = "python agent.py"
    return f"{program} {shlex.quote(line)}"


def guarded(line: str, work: Callable[[], T]) -> T:
    """Do the work of a line; any other error than a HarnessError becomes an InternalError.

    Raises:
        InputError: the line is not text.
        HarnessError: what the work raised.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    try:
        line.encode()
    except UnicodeEncodeError as exc:  # undecodable bytes of the terminal or a pipe
        raise InputError(f"the line is not UTF-8 text (character {exc.start})") from exc
    try:
        return work()
    except (HarnessError, KeyboardInterrupt):
        raise
    except Exception as exc:
        if ctrl_c.is_cause_of(exc):
            raise KeyboardInterrupt from exc
        raise InternalError(exc) from exc
