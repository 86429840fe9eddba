"""Lines as a user gives them: to the command, and to the session."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.app import App


@dataclass(frozen=True, slots=True)
class Shown:
    """What a user sees: `out` is stdout, `err` is stderr; `code` is a command's exit code."""

    out: str
    err: str
    code: int = 0


def one_shot(app: App, *lines: str) -> Shown:
    """Run lines as `agent.py` does, one after the other."""
    from harness.cli import main

    _listen(app)
    code = main.run_lines(app, lines)
    return _heard(app, code)


def session(app: App, *lines: str) -> Shown:
    """Type lines into a session, then leave it."""
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from harness.cli.repl import Repl

    _listen(app)
    with create_pipe_input() as keys:
        # A paste, so that a line may hold line breaks.
        keys.send_text("".join(f"\x1b[200~{line}\x1b[201~\r" for line in lines) + "\x04")
        Repl(app, keys, DummyOutput()).run()
    return _heard(app)


def _listen(app: App) -> None:
    app.screen.out, app.screen.err = io.StringIO(), io.StringIO()


def _heard(app: App, code: int = 0) -> Shown:
    out, err = app.screen.out, app.screen.err
    assert isinstance(out, io.StringIO)
    assert isinstance(err, io.StringIO)
    return Shown(out.getvalue(), err.getvalue(), code)
