"""The interface between frontends and runs, and the display of results and errors."""

from __future__ import annotations

import io
import json
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from harness.errors import HarnessError, InputError, InternalError, Interrupted, ReaderGone
from harness.support import ctrl_c
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.api.skill import Result

T = TypeVar("T")


class TextFiles(Protocol):
    """The text files that an editor has opened, with changes that are not saved yet."""

    def read(self, path: Path) -> str | None:
        """Return the editor's text of an existing file; None if the caller must read the file.

        Raises:
            InputError: the editor returns an error.
        """

    def write(self, path: Path, text: str, before: str | None) -> bool:
        """Write a file through the editor; return False if the caller must write the file.

        Args:
            before: the present text, or None for a new file.

        Raises:
            OutputError: the editor returns an error.
        """


@dataclass(frozen=True, slots=True)
class Frontend:
    """A frontend: the origin of lines, and the means to ask the user.

    Attributes:
        name: "one-shot", "repl", "model", "mcp", "acp" or "test", for the run log.
        confirm: asks the user a yes-or-no question; None if the user cannot be asked.
        stdin: the stream that is read for the text `-` and for missing text; None if stdin is
            missing or a terminal.
        choose: asks the user a question with a choice of answers, and returns the chosen answer or
            ""; None if the user cannot be asked in this way.
        ask: asks the user a question, and returns the answer as typed; None if the user cannot be
            asked in this way.
        is_model: True if invocations come from a model, so that changes need the user's consent.
        files: the text files of the editor, which the tools read and write instead of the files on
            the disk; None without an editor.
    """

    name: str
    confirm: Callable[[str], bool] | None = None
    stdin: IO[bytes] | None = None
    is_model: bool = False
    choose: Callable[[str, Sequence[str]], str] | None = None
    ask: Callable[[str], str] | None = None
    files: TextFiles | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a line, which the frontend shows.

    Attributes:
        saved: the files and folders that were written.
        emitted: True if the text of the result has already been printed piece by piece.
        line_ended: True if no line feed is needed after the printed text.
    """

    result: Result
    general: GeneralOptions
    saved: tuple[Path, ...] = ()
    emitted: bool = False
    line_ended: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a line: its frontend, its output, and its cancellation.

    Attributes:
        cancel: an event that stops the run, or None.
    """

    frontend: Frontend
    screen: Screen
    cancel: threading.Event | None = None

    def for_model(self) -> Caller:
        """Return a caller for a model's calls, without access to stdin and stdout."""
        asked = self.frontend
        name = asked.name if asked.is_model else "model"
        frontend = replace(asked, name=name, stdin=None, is_model=True)
        return Caller(frontend, self.screen.like(io.StringIO()), self.cancel)


def in_shell(line: str) -> str:
    """Return the shell command that runs a line with the program of this process."""
    program = Path(sys.argv[0]).name
    if program.endswith(".py"):  # agent.py, or a script of skills/finetune, which accepts no line
        program = "python agent.py"
    return f"{program} {shlex.quote(line)}"


def guarded(line: str, work: Callable[[], T]) -> T:
    """Do the work of a line and return its result.

    An error that is not a HarnessError becomes an InternalError.

    Raises:
        InputError: the line is not UTF-8 text.
        HarnessError: the error that the work raised.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    try:
        line.encode()
    except UnicodeEncodeError as exc:  # the terminal or a pipe has sent undecodable bytes
        raise InputError(f"the line is not UTF-8 text (character {exc.start})") from exc
    try:
        return work()
    except (HarnessError, KeyboardInterrupt):
        raise
    except Exception as exc:
        if ctrl_c.is_cause_of(exc):
            raise KeyboardInterrupt from exc
        raise InternalError(exc) from exc


def show(outcome: Outcome, screen: Screen, as_typed: Callable[[str], str] = str) -> None:
    """Print the result to stdout; print saved paths and a partial result's error to stderr.

    A text that was saved or already printed is left out.

    Args:
        as_typed: returns a line in the form that the user has to type, such as a shell command.
    """
    result, saved = outcome.result, [str(path) for path in outcome.saved]
    if outcome.general.as_json and saved:
        summary = json.loads(result.as_json()) if result.summary is not None else {}
        screen.result(json.dumps({**summary, "saved": saved}, ensure_ascii=False))
    elif outcome.general.as_json:
        screen.result(result.as_json())
    elif outcome.emitted:
        screen.result("" if outcome.line_ended else "\n")
    elif not (screen.is_terminal and _rendered(result, screen)) and not saved:
        screen.result(result.text)
    show_saved(outcome, screen)
    if result.next and screen.is_terminal and not outcome.general.as_json:
        screen.hint(f"Next: {as_typed(result.next)}")


def _rendered(result: Result, screen: Screen) -> bool:
    """Show the object that `Result.terminal` returns; return True if an object was shown."""
    if result.terminal is None:
        return False
    try:
        screen.show(result.terminal())
    except HarnessError:
        raise
    except Exception as exc:  # noqa: BLE001 `terminal` may be code of a plugin
        screen.notice(f"the result cannot be rendered: {exc!r}")
        return False
    return True


def show_saved(outcome: Outcome, screen: Screen) -> None:
    """Print the paths of saved files, and the error of a partial result, to stderr."""
    for path in outcome.saved:
        screen.notice(f"Saved to {path}")
    if outcome.result.stopped is not None:
        print_error(outcome.result.stopped, screen)


def print_error(error: HarnessError, screen: Screen) -> None:
    """Print an error to stderr, with the traceback of an internal error.

    If the reader of stdout has closed the pipe (ReaderGone), nothing is printed.
    """
    if isinstance(error, ReaderGone):
        return
    if isinstance(error, InternalError) and error.__cause__ is not None:
        screen.notice("".join(traceback.format_exception(error.__cause__)).rstrip())
    if isinstance(error, Interrupted):
        ctrl_c.reported()
        screen.notice(f"Interrupted. {error.hint}" if error.hint else "Interrupted.")
    else:
        screen.notice(f"Error: {error}")
