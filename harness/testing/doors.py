"""Lines run through the frontends: the one-shot command and the session."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.app import App


@dataclass(frozen=True, slots=True)
class Shown:
    """Output of lines: `out` is stdout, `err` is stderr; `code` is a command's exit code."""

    out: str
    err: str
    code: int = 0


def one_shot(app: App, *lines: str) -> Shown:
    """Run lines one after the other, as `agent.py` does."""
    from harness.cli import main

    _capture(app)
    code = main.run_lines(app, lines)
    return _shown(app, code)


def session(app: App, *lines: str) -> Shown:
    """Type lines into a session, then end it."""
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from harness.cli.repl import Repl

    _capture(app)
    with create_pipe_input() as keys:
        # Pasted, so that a line may contain line breaks.
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
