"""Running a program without stdin, within limits of time and output."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DeadlineExceeded, SkillFailed
from harness.support.stopping.stop_token import StopToken

MAX_BYTES = 10_000_000
"""Output at which a program is stopped."""
KEPT = 6_000
"""Characters that are kept of the beginning and of the end of the output."""
CHECKED = 0.1
"""Seconds after which the stop token is checked."""
_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code, negative for a signal, or None if it was stopped.
        stopped: why it was stopped, or "".
    """

    output: str
    code: int | None
    stopped: str = ""


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    seconds: float,
    cancel: StopToken,
) -> Ended:
    """Run a program and return its output, in which stderr is mixed.

    At its end, at a limit and at Ctrl-C, all processes of its group are killed.

    Raises:
        Interrupted: `cancel` was set.
        SkillFailed: it cannot be started.
    """
    token = StopToken(cancel, seconds)
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
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
            else:  # it may have closed its output
                _wait(process, token)
        except DeadlineExceeded:
            stopped = f"not finished within {seconds:g} s"
        finally:
            _kill(process)
    return Ended(_shortened(output), None if stopped else process.returncode, stopped)


def _read(process: subprocess.Popen[bytes], output: bytearray, token: StopToken) -> None:
    """Read the output until it ends, there is too much, or the program has ended.

    Its end is not enough: a process in the background may keep the pipe open.
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


def _wait(process: subprocess.Popen[bytes], token: StopToken) -> None:
    while process.poll() is None:
        token.check()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CHECKED)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of the group."""
    with contextlib.suppress(OSError):  # they have ended
        os.killpg(process.pid, signal.SIGKILL)


def _shortened(output: bytearray) -> str:
    text = output.decode(errors="replace")
    if len(text) <= 2 * KEPT:
        return text
    left = len(text) - 2 * KEPT
    return f"{text[:KEPT]}\n... ({left:,} characters left out) ...\n{text[-KEPT:]}"
