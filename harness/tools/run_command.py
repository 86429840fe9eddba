"""The tool `run`: run a command in the project's folder, in a sandbox if bubblewrap works.

In the sandbox, commands can write to /tmp and to the project. /tmp is an empty folder that is
deleted afterwards. The files of the project that control git or the harness are read-only. The
network is off unless HARNESS_RUN_NETWORK=1 is set. Below /run, only /run/current-system and
/run/systemd/resolve are visible, so sockets elsewhere in /run are hidden.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from harness.errors import DeadlineExceeded, NothingFound, SkillFailed
from harness.places import GIT, INSTRUCTIONS_FILE
from harness.plugins.trust import with_originals
from harness.programs import command_words
from harness.support.stop_token import StopToken
from harness.support.text_input import is_file
from harness.tools.builtin_tools import BuiltinTool, ToolArguments, Workplace

SECONDS = 120
MOST_SECONDS = 600
PASSED = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV")
"""Environment variables that every command receives, in addition to PATH and LC_*. Other variables
may contain secrets.
"""
SET = {
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    # Otherwise, files of the project that imitate a bare repository could make git run programs.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.bareRepository",
    "GIT_CONFIG_VALUE_0": "explicit",
}
"""Variables that prevent programs from waiting for a person, or from running configured
commands.
"""
MAX_BYTES = 10_000_000
"""Size of the output in bytes at which a program is stopped."""
KEPT = 6_000
"""Number of characters that are kept at each end of a long output."""
CHECKED = 0.1
"""Seconds between two checks of the stop token."""
_PIECE = 65_536
_PROGRAM = "bwrap"
_TMP = "/tmp"  # noqa: S108 an empty folder of the sandbox
_BASE = (
    *("--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", _TMP),
    *("--setenv", "TMPDIR", _TMP),
    *("--tmpfs", "/run", "--ro-bind-try", "/run/current-system", "/run/current-system"),
    *("--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"),
)
_NO_NETWORK = "--unshare-net"
_SECONDS = 10
_CREATED = ("", ".d", ".md", ".json")


class Run(BuiltinTool):
    """Runs a command, in a sandbox if bubblewrap works."""

    name = "run"
    summary = "Run a command in the project's folder, without input"

    class Arguments(ToolArguments):
        command: str = Field(
            min_length=1,
            max_length=20_000,
            description="the command line to run, for example: git diff",
        )
        timeout: int = Field(SECONDS, ge=1, le=MOST_SECONDS, description="time limit in seconds")

    _warned = False

    def shown(self, given: Arguments) -> str:
        return given.command

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        command = self._of_skill(given.command, place)
        words = command_words(command)
        environment = environment_of(place.settings.run_environment)
        if words is not None:
            program = words[0]
            if "/" in program:
                exists = is_file(str(place.project / program))
            else:
                exists = shutil.which(program, path=environment["PATH"]) is not None
            if not exists:
                raise NothingFound(f"there is no program {program!r}")
        unconfined, settings = no_sandbox(), place.settings
        if unconfined:
            how = f"with all your rights ({unconfined})"
        else:
            network = "the network" if settings.run_network else "no network"
            how = f"in a sandbox: {network}, and writes only below this folder"
        detail = f"In {place.project}, {how}:"
        place.allow("run", with_originals(command), detail, confined=not unconfined)
        if unconfined and not self._warned:
            self._warned = True
            place.screen.notice(f"commands of the model run without a sandbox: {unconfined}")
        argv: Sequence[str] = words or ("/bin/sh", "-c", command)
        with ExitStack() as stack:
            if not unconfined:
                command_in_sandbox = confined(
                    argv,
                    place.project,
                    (*settings.protected, place.project / GIT, place.project / INSTRUCTIONS_FILE),
                    place.skills.values(),
                    network=settings.run_network,
                )
                argv = stack.enter_context(command_in_sandbox)
            ended = run_program(argv, place.project, environment, given.timeout, place.cancel)
        if ended.stopped:
            return {"output": ended.output, "stopped": ended.stopped}
        return {"exit_code": ended.code, "output": ended.output}

    def _of_skill(self, command: str, place: Workplace) -> str:
        """Return the command with the absolute path of a skill's script.

        The script is the first or second word: a path with a slash that exists in the folder of an
        activated skill, but not in the project. Other commands are returned unchanged.
        """
        words = command_words(command) or ()
        for number, word in enumerate(words[:2]):
            if "/" not in word or is_file(str(place.project / word)):
                continue
            for folder in reversed([*place.skills.values()]):
                script = folder / word
                if is_file(str(script)) and script.resolve().is_relative_to(folder.resolve()):
                    return shlex.join([*words[:number], str(script), *words[number + 1 :]])
        return command


def environment_of(named: Sequence[str]) -> dict[str, str]:
    """Return the environment variables for a command.

    Args:
        named: names of additional variables that the user allows.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED or name in named or name.startswith("LC_")
    }
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    absolute = [folder for folder in folders if Path(folder).is_absolute()]
    return {**passed, **SET, "PATH": os.pathsep.join(absolute)}


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a program, with its output.

    Attributes:
        code: the exit code; negative if a signal ended the program, None if a limit stopped it.
        stopped: the reason why the program was stopped, or "".
    """

    output: str
    code: int | None
    stopped: str = ""


def run_program(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    seconds: float,
    cancel: StopToken,
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.STDOUT,
) -> Ended:
    """Run a program, and return its exit code and output, which includes stderr by default.

    The middle of a long output is left out. When the program ends, exceeds a limit or is
    interrupted, all processes of its group are killed.

    Args:
        folder: the working directory.
        seconds: the time limit.
        stdin, stderr: as for `subprocess.Popen`.

    Raises:
        Interrupted: `cancel` was set.
        SkillFailed: the program cannot be started.
    """
    token = StopToken(cancel, seconds)
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        raise SkillFailed(f"it cannot be started: {exc}") from exc
    output, stopped = bytearray(), ""
    with process:
        try:
            _read(process, output, token)
            if len(output) > MAX_BYTES:
                stopped = f"more than {MAX_BYTES // 1_000_000} MB of output"
            while not stopped and process.poll() is None:  # the program may have closed its output
                token.check()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(CHECKED)
        except DeadlineExceeded:
            stopped = f"not finished within {seconds:g} s"
        finally:
            with contextlib.suppress(OSError):  # raised if all processes of the group have ended
                os.killpg(process.pid, signal.SIGKILL)
    text = output.decode(errors="replace")
    if (left := len(text) - 2 * KEPT) > 0:
        text = f"{text[:KEPT]}\n... ({left:,} characters left out) ...\n{text[-KEPT:]}"
    return Ended(text, None if stopped else process.returncode, stopped)


def _read(process: subprocess.Popen[bytes], output: bytearray, token: StopToken) -> None:
    """Read the output until it ends or is too large, or until the program has ended.

    A background process may keep the pipe open after the program has ended.

    Args:
        output: receives the output.

    Raises:
        DeadlineExceeded: the time limit has passed.
        Interrupted: a stop was requested.
    """
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) <= MAX_BYTES:
            token.check()
            ended = process.poll() is not None
            if not selector.select(0 if ended else min(CHECKED, token.remaining)):
                if ended:
                    return
                continue
            piece = os.read(process.stdout.fileno(), _PIECE)
            if not piece:
                return
            output += piece


@functools.cache
def no_sandbox() -> str:
    """Return the reason why there is no sandbox, or "" if there is a sandbox."""
    if sys.platform != "linux":
        return f"no sandbox is available for {sys.platform}"
    if shutil.which(_PROGRAM) is None:
        return "bubblewrap is not installed"
    try:
        tried = subprocess.run(
            [_PROGRAM, *_BASE, _NO_NETWORK, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"bubblewrap does not work: {exc}"
    reason = tried.stderr.decode(errors="replace").strip()
    return f"bubblewrap does not work: {reason}" if tried.returncode else ""


@contextlib.contextmanager
def confined(
    command: Sequence[str],
    project: Path,
    protected: Iterable[Path],
    readable: Iterable[Path] = (),
    *,
    network: bool = False,
) -> Iterator[list[str]]:
    """Yield the command that runs `command` in the sandbox.

    Missing protected paths in the project, except registries and databases, are created as folders,
    since only existing paths can be made read-only. Empty created folders are removed afterwards.

    Args:
        protected: files and folders that are read-only in the sandbox.
        readable: folders that the command may read, even if they are below /tmp.
    """
    options = [*_BASE, *([] if network else [_NO_NETWORK])]
    for folder in readable:
        options += ["--ro-bind-try", str(folder), str(folder)]
    options += ["--bind", str(project), str(project)]
    made: list[Path] = []
    try:
        options += _read_only(project, [path.resolve() for path in protected], made)
        yield [_PROGRAM, *options, "--chdir", str(project), "--", *command]
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # raised if the folder is not empty
                folder.rmdir()


def _read_only(project: Path, places: Sequence[Path], made: list[Path]) -> Iterator[str]:
    """Yield the options that make paths below the project read-only.

    The parent folders of these paths also become mounts, so that a command cannot move a path by
    renaming a parent. A mount hides earlier mounts below it, so outer folders are mounted first.
    Each path is mounted only once.

    Args:
        made: receives the folders that are created.
    """
    if any(project.is_relative_to(place) for place in places):
        yield from ("--ro-bind", str(project), str(project))
        return
    below = [place for place in places if place.is_relative_to(project)]
    outermost = [place for place in below if not any(other in place.parents for other in below)]
    # A missing path is created as a folder, which git does not list while it is empty. A registry
    # or a database is not created, since another process may create it meanwhile.
    kept = [p for p in dict.fromkeys(outermost) if p.exists() or p.suffix in _CREATED]
    around = {above for place in kept for above in place.parents if project in above.parents}
    for folder in sorted(around):
        yield from ("--bind", str(_existing(folder, made)), str(folder))
    for place in kept:
        yield from ("--ro-bind", str(_existing(place, made)), str(place))


def _existing(place: Path, made: list[Path]) -> Path:
    """Return `place`, which is created as a folder if it does not exist."""
    if not place.exists():
        place.mkdir()
        made.append(place)
    return place
