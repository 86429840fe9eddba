"""The command line `agent.py [OPTION ...] [LINE]`, its streams and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING

from harness import settings as settings_module
from harness._version import __version__
from harness.cli.app import App
from harness.errors import HarnessError, Interrupted, ReaderGone, UsageError
from harness.runs.frontend import Frontend, Outcome, guarded, in_shell, print_error, show
from harness.support import ctrl_c, traces
from harness.terminal import streams
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from harness.runs.invocation import Invocation

    MakeInvocation = Callable[[list[str]], Invocation]


BARE = re.compile(r"\s*/skills\s+(?:disable|enable|remove)(?:\s|\Z)")
"""Matches lines that must run even if a plugin fails to load or ends the process."""
INFORMATION = ("--help", "-h", "--version")
"""Options of the program that print information instead of running a line."""
SOON = 0.5
"""Time in seconds for MCP servers to end after Ctrl-C, before they are killed."""
_unfreed: list[App] = []
"""Interrupted applications, kept alive since freeing a busy engine would delay the exit."""
GRACE = 2.0
"""Maximum number of seconds that the exit waits for other threads."""


def command(argv: Sequence[str] | None = None, make: MakeInvocation | None = None) -> int:
    """Run `main` as the command of this process, and return its exit code.

    The function reserves stdout for results, handles Ctrl-C, and guarantees that the process exits
    even if other threads are still running.
    """
    streams.set_apart()
    with ctrl_c.taking_effect("end"):
        try:
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                # replaces the handler of agent.py
                signal.signal(signal.SIGINT, signal.default_int_handler)
            code = main(argv, make)
            traces.end(Screen().notice)
        except KeyboardInterrupt:  # Ctrl-C was pressed just before or after the work
            ctrl_c.end_process()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # KeyboardInterrupt would show a traceback
    return leave(code)


def run_script(make: MakeInvocation, argv: Sequence[str] | None = None) -> int:
    """Run the invocation that a script makes from its arguments; return the exit code.

    Args:
        make: parses the arguments, and returns the invocation.
        argv: the arguments; None to run as the command of this process (`command`), with the
            arguments of the process.
    """
    return command(None, make) if argv is None else main(argv, make)


def main(argv: Sequence[str] | None = None, make: MakeInvocation | None = None) -> int:
    """Run a line, piped lines, or a session on a terminal; return the exit code.

    Args:
        argv: the arguments; None for the arguments of this process.
        make: parses the arguments, and returns the invocation to run; by default, the arguments
            are general options and a line.
    """
    words = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        if make is None:
            return _run(words)
        invocation, settings = make(words), settings_module.from_environment()
        app = App(settings, Frontend("one-shot", stdin=_piped_stdin()))
        return _closed(app, _run_each(app, [partial(app.run, invocation)]))

    error: HarnessError
    try:
        return guarded("", work)  # no line has been read yet
    except KeyboardInterrupt:
        error = Interrupted("interrupted")
    except HarnessError as exc:
        error = exc
    print_error(error, Screen())
    return error.exit_code


def _run(words: list[str]) -> int:
    general, rest = _parsed(words)
    continues, no_session = (general.pop(name, False) for name in ("continue", "no_session"))
    if rest[:1] == ["--version"]:
        Screen().result(__version__)
        return 0
    settings = settings_module.from_environment()
    if no_session:
        settings = replace(settings, no_sessions=True)
    match rest:
        case ["--help" | "-h", *_]:
            from harness.cli.overview import program_help
            from harness.plugins import plugin_table

            app = App(settings, Frontend("one-shot"), general=general)
            options = plugin_table.read()["options"]
            Screen().result(program_help(app.catalogue, settings, options))
            return 0
        case ["completion"] | ["completion", _]:
            from harness.cli.shell_completion import script

            app = App(settings, Frontend("one-shot"), general=general)
            shell = "".join(rest[1:])
            Screen().result(script(shell, app.catalogue, app.registry.names.items()))
            return 0
        case ["mcp" | "acp" as name, *options] if all(one.startswith("-") for one in options[:1]):
            from harness.cli import protocol_servers

            serve = protocol_servers.serve_mcp if name == "mcp" else protocol_servers.serve_acp
            return serve(settings, general, options)
    if not rest and sys.stdin is not None and sys.stdin.isatty():
        from harness.cli import interactive_session

        return interactive_session.run(settings, general, continues=bool(continues))
    line = " ".join(rest)
    frontend = Frontend("one-shot", stdin=_piped_stdin() if rest else None)
    app = App(settings, frontend, general=general, bare=BARE.match(line) is not None)
    if rest and not line.strip():  # probably an empty shell variable
        raise UsageError("the line is empty", hint="`--help` describes the lines to write.")
    if continues:
        from harness.cli.session_commands import go_on

        go_on(app)
    return _closed(app, run_lines(app, [line] if rest else _piped_lines()))


def _parsed(words: list[str]) -> tuple[dict[str, object], list[str]]:
    """Return the options before the line by key, and the line as a list of words."""
    if not words or words[0] in INFORMATION:
        return {}, words
    from harness.runs.invocation import parse_general

    general, rest = parse_general(words)
    if "prompt" not in general:
        return general, rest
    prompt = str(general.pop("prompt"))
    if rest:
        raise UsageError(f"the line is given twice: by --prompt and as {' '.join(rest)[:60]!r}")
    return general, [prompt]


def _closed(app: App, code: int) -> int:
    """Stop the MCP servers and free the models, and return `code`, the exit code of the run.

    After Ctrl-C, the models are not freed, since this would delay the exit.
    """
    if code == Interrupted.exit_code:
        _unfreed.append(app)
        app.stop_servers(SOON)
    else:
        # the work has ended, so Ctrl-C only interrupts the closing, without an error
        with contextlib.suppress(KeyboardInterrupt):
            app.close()
    return code


def run_lines(app: App, lines: Iterable[str]) -> int:
    """Run lines and show their results; return the exit code of the last failed line, or 0.

    An interruption, a closed stdout, or a line such as /exit ends the loop.
    """
    dispatched = (line.removesuffix("\n") for line in lines if line.strip())
    return _run_each(app, (partial(app.dispatch, line) for line in dispatched))


def _run_each(app: App, runs: Iterable[Callable[[], Outcome]]) -> int:
    code = 0
    for run in runs:
        try:
            outcome = run()
            show(outcome, app.screen, in_shell)
        except HarnessError as error:
            print_error(error, app.screen)
            code = error.exit_code or code  # the exit code of ReaderGone is 0
            if isinstance(error, (Interrupted, ReaderGone)):
                break
            continue
        code = outcome.result.code or code
        if outcome.result.leave or isinstance(outcome.result.stopped, Interrupted):
            break
    return code


def _piped_lines() -> IO[str] | tuple[()]:
    """Return the lines of stdin; `App.dispatch` refuses lines that are not UTF-8."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdin or ()


def _piped_stdin() -> IO[bytes] | None:
    """Return stdin; None if stdin is missing, a terminal, or a device such as /dev/null."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    with contextlib.suppress(OSError):  # stdin has no file descriptor
        if stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):
            return None
    return sys.stdin.buffer


def leave(code: int) -> int:
    """End the process after Ctrl-C; otherwise return `code`, and limit the wait at exit.

    Python waits for other threads at exit without a limit. Therefore a thread waits `GRACE`
    seconds, and then ends the process with the exit code `code` if other threads are still running.
    """
    if code == Interrupted.exit_code:
        _exit(code)

    def end() -> None:
        time.sleep(GRACE)
        main = threading.main_thread()
        # Python does not wait for daemon threads
        names = [t.name for t in threading.enumerate() if not t.daemon and t is not main]
        if names:
            Screen().notice(f"exiting although threads are still running: {', '.join(names)}")
            _exit(code)

    threading.Thread(target=end, name="shutdown", daemon=True).start()
    return code


def _exit(code: int) -> None:
    for stream in (Screen().out, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # a closed stream is None
    ctrl_c.kill_others()
    os._exit(code)
