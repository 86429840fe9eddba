"""Interactive session: a prompt with history and completion for `App.dispatch`.

Ctrl-C interrupts the work or clears the line; Ctrl-D ends the session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import ThreadedCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.shortcuts import confirm

from harness._version import __version__
from harness.cli.app import App
from harness.cli.completion import LineCompleter
from harness.errors import HarnessError
from harness.runs.frontend import Frontend
from harness.runs.render import print_error, show
from harness.settings import Settings
from harness.support import ctrl_c
from harness.support.bounded_files import read_bytes
from harness.terminal import stdout_guard
from harness.terminal.console import Screen

WELCOME = f"""\
nanda-harness {__version__}. Type /help for the commands, or plain text for the producer model.
Ctrl-C stops the current work, Ctrl-D ends the session."""

HISTORY_BYTES = 4_000_000
"""Maximum size of the history file, which is read at every start of a session."""


def run(settings: Settings, general: Mapping[str, Any]) -> int:
    """Run a session on the terminal; return the exit code."""
    app = App(settings, Frontend("repl", confirm=_confirm), general=general)
    try:
        # The prompt is written where results go, which is not sys.stdout (terminal/stdout_guard).
        output = create_output(stdout=cast("TextIO | None", stdout_guard.results()))
        with create_app_session(output=output), ctrl_c.taking_effect("none"):
            Repl(app).run()
    finally:
        app.close()
    return 0


class Repl:
    """Interactive session.

    Args:
        terminal_input, terminal_output: of prompt-toolkit, for tests; default: the terminal.
    """

    def __init__(
        self,
        app: App,
        terminal_input: Input | None = None,
        terminal_output: Output | None = None,
    ) -> None:
        self.app = app
        self.session: PromptSession[str] = PromptSession(
            "> ",
            history=open_history(app.settings.history, app.screen),
            completer=ThreadedCompleter(LineCompleter(lambda: app.catalogue)),
            complete_while_typing=True,
            bottom_toolbar=self.status,
            input=terminal_input,
            output=terminal_output,
        )

    def run(self) -> None:
        """Read and run lines until /exit or Ctrl-D."""
        self.app.screen.notice(WELCOME)
        while True:
            try:
                line = self.session.prompt()
            except KeyboardInterrupt:  # clears the line
                continue
            except EOFError:
                return
            if line.strip() and self._run_line(line):
                return

    def _run_line(self, line: str) -> bool:
        """Run one line; return True if it ends the session."""
        try:
            with ctrl_c.taking_effect("interrupt"):
                outcome = self.app.dispatch(line)
                show(outcome, self.app.screen)
        except HarnessError as error:
            print_error(error, self.app.screen)
            return False
        except KeyboardInterrupt:  # outside of a run
            self.app.screen.notice("Interrupted.")
            return False
        return outcome.result.leave

    def status(self) -> str:
        """Return the text below the prompt: the model in use."""
        last = self.app.last_resolution
        if last is None:
            return " no model in use yet | /models shows what is available"
        instead = f" instead of {last.requested}" if last.fell_back else ""
        return f" {last.resolved}{instead} | {last.chosen.serve.label}"


def open_history(path: Path, screen: Screen) -> History:
    """Open the history file, readable only by its owner; in memory if that fails.

    The same if it is too large or not a regular file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            read_bytes(path, HISTORY_BYTES)  # prompt_toolkit reads all of it, whatever it is
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        path.chmod(0o600)
    except OSError as exc:
        screen.notice(f"the input history cannot be stored: {exc.strerror} ({path})")
        return InMemoryHistory()
    return FileHistory(str(path))


def _confirm(question: str) -> bool:
    """Ask on the terminal; Ctrl-D means no, Ctrl-C interrupts the work."""
    sys.stderr.flush()
    try:
        with ctrl_c.taking_effect("none"):
            return confirm(question)
    except EOFError:
        return False
