"""The command-line door: `agent.py [OPTION ...] [LINE]`, its streams and its exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import IO

from harness import settings as settings_module
from harness._version import __version__
from harness.cli.app import App
from harness.cli.commands.skills import needs_no_plugins
from harness.cli.help import program_help
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone, UsageError
from harness.runs.grammar import parse_general
from harness.runs.render import print_error, show
from harness.runs.runner import Door
from harness.terminal import stdout_guard
from harness.terminal.console import Screen
from harness.terminal.shutdown import leave


def command(argv: Sequence[str] | None = None) -> int:
    """`main` for a process that is all its own: stdout has results alone, and it does end."""
    stdout_guard.set_apart()
    return leave(main(argv))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one line, or a session where there is none; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return Interrupted.exit_code
    except HarnessError as error:
        print_error(error, Screen())
        return error.exit_code
    except Exception as exc:  # noqa: BLE001  the last resort: say that it is our own fault
        print_error(InternalError(exc), Screen())
        return InternalError.exit_code


def _run(words: list[str]) -> int:
    general, rest = parse_general(words)
    if rest[:1] == ["--version"]:
        Screen().result(__version__)
        return 0
    asks_for_help = rest[:1] in (["--help"], ["-h"])
    settings = settings_module.from_environment()
    if asks_for_help:
        app = App(settings, Door("one-shot"), general=general)
        Screen().result(program_help(app.catalogue.skills.values()))
        return 0
    if not rest and sys.stdin is not None and sys.stdin.isatty():
        from harness.cli import repl

        return repl.run(settings, general)
    line = " ".join(rest)
    door = Door("one-shot", stdin=_piped_stdin() if rest else None)
    app = App(settings, door, general=general, bare=needs_no_plugins(line))
    try:
        if rest and not line.strip():  # an empty shell variable, most likely
            raise UsageError("the line is empty", hint="`--help` tells what it may be.")
        return run_lines(app, [line] if rest else _piped_lines())
    finally:
        app.close()


def run_lines(app: App, lines: Sequence[str] | IO[str]) -> int:
    """Run lines in turn; the exit code is that of the last one that failed."""
    code = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            outcome = app.dispatch(line.removesuffix("\n"))
            show(outcome, app.screen)
        except HarnessError as error:
            print_error(error, app.screen)
            code = error.exit_code or code  # of a reader that has gone it is 0
            if isinstance(error, (Interrupted, ReaderGone)):
                break
            continue
        code = outcome.result.code or code
        if outcome.result.leave or isinstance(outcome.result.stopped, Interrupted):
            break
    return code


def _piped_lines() -> IO[str] | tuple[()]:
    """The lines of stdin; one that is not UTF-8 is left for `dispatch` to refuse."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdin or ()


def _piped_stdin() -> IO[bytes] | None:
    if sys.stdin is None or sys.stdin.isatty():
        return None
    return sys.stdin.buffer
