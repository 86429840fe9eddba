"""The interactive session: a prompt with history and completion for `App.dispatch`.

Ctrl-C stops the work or clears the line; if pressed twice at an empty prompt, it ends the session,
like Ctrl-D. Alt-Enter begins a new line.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.buffer import CompletionState
from prompt_toolkit.completion import CompleteEvent, ThreadedCompleter, get_common_complete_suffix
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.shortcuts import confirm, prompt

from harness._version import __version__
from harness.cli.app import App
from harness.cli.completion import LineCompleter
from harness.cli.overview import WIDTH
from harness.errors import HarnessError, RegistryError
from harness.runs.frontend import Frontend, print_error, show
from harness.settings import Settings
from harness.support import ctrl_c
from harness.support.bounded_files import read_bytes
from harness.terminal import streams
from harness.terminal.console import Screen

T = TypeVar("T")
WELCOME = f"""\
nanda-harness {__version__}. Type /help for the commands; Tab completes them, options and files.
Plain text is for the chat model. Ctrl-C stops the current work, Ctrl-D ends the session."""
LEAVING = "Ctrl-C again ends the session, as Ctrl-D and /exit do."
HISTORY_BYTES = 4_000_000
"""Maximum size in bytes of the history file, which is read at the start of each session."""


def run(settings: Settings, general: Mapping[str, Any], *, continues: bool = False) -> int:
    """Run a session on the terminal; return the exit code.

    Args:
        continues: True to continue the last conversation of this folder.
    """
    frontend = Frontend("repl", confirm=_confirm, choose=_choose, ask=_ask)
    app = App(settings, frontend, general=general)
    try:
        if continues:
            from harness.cli.session_commands import go_on

            go_on(app)
        # The prompt is written to the stream for results, which is not sys.stdout
        # (terminal/streams).
        output = create_output(stdout=cast("TextIO | None", streams.results()))
        with create_app_session(output=output), ctrl_c.taking_effect("none"):
            Repl(app).run()
    finally:
        app.close()
    return 0


class Repl:
    """An interactive session.

    Args:
        terminal_input, terminal_output: input and output of prompt-toolkit, for tests; by default,
            the terminal.
    """

    def __init__(
        self, app: App, terminal_input: Input | None = None, terminal_output: Output | None = None
    ) -> None:
        self.app = app
        self.session: PromptSession[str] = PromptSession(
            "> ",
            history=open_history(app.settings.history, app.screen),
            completer=ThreadedCompleter(LineCompleter(lambda: app.catalogue, self._models)),
            key_bindings=key_bindings(),
            complete_while_typing=True,
            prompt_continuation="  ",
            bottom_toolbar=self.status,
            input=terminal_input,
            output=terminal_output,
        )

    def run(self) -> None:
        """Read and run lines until /exit, Ctrl-D, or Ctrl-C twice at an empty prompt."""
        self._notice(WELCOME)
        leaving = False
        while True:
            try:
                line = self.session.prompt()
            except KeyboardInterrupt:
                if self.session.default_buffer.text:  # Ctrl-C has cleared the line
                    leaving = False
                elif leaving:
                    return
                else:
                    leaving = True
                    self._notice(LEAVING)
                continue
            except EOFError:
                return
            leaving = False
            if line.strip() and self._run_line(line):
                return

    def _models(self) -> Iterable[tuple[str, str]]:
        try:
            return self.app.registry.names.items()
        except RegistryError:
            return ()

    def _notice(self, text: str) -> None:
        screen = self.app.screen
        screen.notice(textwrap.fill(text, min(WIDTH, streams.size(screen.err).columns)))

    def _run_line(self, line: str) -> bool:
        """Run a line, and show its result or error; return True if the line ends the session."""
        try:
            with ctrl_c.taking_effect("interrupt"):
                outcome = self.app.dispatch(line)
                show(outcome, self.app.screen)
        except HarnessError as error:
            print_error(error, self.app.screen)
            return False
        except KeyboardInterrupt:  # Ctrl-C was pressed outside of a run
            self.app.screen.notice("Interrupted.")
            return False
        return outcome.result.leave

    def status(self) -> str:
        """Return the line below the prompt, which shows the model in use."""
        last = self.app.last_resolution
        if last is None:
            text = " no model in use yet | /models shows what is available"
        else:
            instead = f" instead of {last.requested}" if last.fell_back else ""
            text = f" {last.resolved}{instead} | {last.chosen.serve.label}"
        width = self.session.output.get_size().columns
        return text if len(text) <= width else f"{text[: width - 1]}…"


def key_bindings() -> KeyBindings:
    """Return the bindings of Alt-Enter and Tab, which differ from prompt-toolkit's bindings."""
    bindings = KeyBindings()

    @bindings.add("tab")
    def _(event: KeyPressEvent) -> None:
        """Complete immediately: prompt-toolkit ignores Tab while it completes typed text."""
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.completions:
            buffer.complete_next()
            return
        requested = CompleteEvent(completion_requested=True)
        found = list(buffer.completer.get_completions(buffer.document, requested))
        if len(found) == 1:
            buffer.delete_before_cursor(-found[0].start_position)
            buffer.insert_text(found[0].text)
        elif found:
            common = get_common_complete_suffix(buffer.document, found)
            buffer.insert_text(common)
            left = [completion.new_completion_from_position(len(common)) for completion in found]
            buffer.complete_state = CompletionState(buffer.document, left)

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def open_history(path: Path, screen: Screen) -> History:
    """Return the input history, which is stored in a file that only its owner can read.

    The history is kept in memory if the file cannot be used, is too large, or is not a regular
    file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            read_bytes(path, HISTORY_BYTES)  # prompt_toolkit would read a file of any size
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        path.chmod(0o600)
    except OSError as exc:
        screen.notice(f"the input history cannot be stored: {exc.strerror} ({path})")
        return InMemoryHistory()
    return FileHistory(str(path))


def _confirm(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; return True for yes, False for no or Ctrl-D."""
    sys.stderr.flush()
    return _answer(partial(confirm, question), False)


def _choose(question: str, choices: Sequence[str]) -> str:
    """Return the answer that the user chooses by number or first letters, or "" after Ctrl-D."""
    numbered = {str(number): choice for number, choice in enumerate(choices, start=1)}
    listed = "\n".join(f"  {number} {choice}" for number, choice in numbered.items())
    _print(f"{question}\n{listed}")
    while True:
        given = _answer(lambda: prompt("Answer: ").strip().casefold(), None)
        if given is None:
            return ""
        begun = [choice for choice in choices if given and choice.startswith(given)]
        if given in numbered or len(begun) == 1:
            return numbered.get(given) or begun[0]


def _ask(question: str) -> str:
    """Ask a question on the terminal, and return the typed answer, or "" after Ctrl-D."""
    _print(question)
    return _answer(lambda: prompt("Answer: ").strip(), "")


def _answer(ask: Callable[[], T], otherwise: T) -> T:
    """Call `ask` and return the answer, or return `otherwise` if the user presses Ctrl-D.

    Ctrl-C raises KeyboardInterrupt.
    """
    try:
        with ctrl_c.taking_effect("none"):
            return ask()
    except EOFError:
        return otherwise


def _print(text: str) -> None:
    sys.stderr.write(f"{streams.shown_on(sys.stderr, text)}\n")
    sys.stderr.flush()
