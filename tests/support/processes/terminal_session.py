"""A session in a terminal of its own: keys as a person presses them, and the screen they see."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pexpect
import pyte

from harness.settings import CODE_ROOT

TAB = "\t"
PATIENCE = 90.0
"""Seconds to wait for what should appear; a busy machine starts slowly."""


class TerminalSession:
    """A running session.

    Args:
        environment: of the process; TERM and COLUMNS are set here.
        words: arguments of the command.
    """

    def __init__(
        self, folder: Path, width: int, environment: Mapping[str, str], words: Sequence[str] = ()
    ) -> None:
        self._screen = pyte.Screen(width, 30)
        self._stream = pyte.ByteStream(self._screen)
        known = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
        self._process = pexpect.spawn(
            sys.executable,
            [str(CODE_ROOT / "agent.py"), *words],
            cwd=str(folder),
            env={**known, "TERM": "xterm-256color"},
            dimensions=(30, width),
            timeout=PATIENCE,
        )
        self._process.delaybeforesend = None
        # prompt-toolkit asks for the position of the cursor, which a terminal answers.
        self._screen.write_process_input = self._process.send

    @property
    def lines(self) -> list[str]:
        """What the screen shows, without blanks at the ends of lines."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What the screen shows, with its lines joined."""
        return " ".join(" ".join(self.lines).split())

    def press(self, *keys: str) -> None:
        """Send keys, each after what the one before has changed on the screen."""
        for key in keys:
            self._process.send(key)
            self._read(0.3)

    def complete(self, typed: str, *texts: str) -> None:
        """Type fast, press Tab at once, and wait until the screen shows all texts."""
        for key in (*typed, TAB):
            self._process.send(key)
            time.sleep(0.005)
        self.wait_for(*texts)

    def wait_for(self, *texts: str) -> None:
        """Wait until the screen shows all texts."""
        assert self._shows(texts, PATIENCE), f"{texts} not in:\n" + "\n".join(self.lines)

    def _shows(self, texts: Sequence[str], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not all(text in self.text for text in texts):
            if time.monotonic() > end:
                return False
            self._read(0.2)
        return True

    def end(self) -> int:
        """Wait until the session ends; return its exit code."""
        end = time.monotonic() + PATIENCE
        while self._process.isalive():
            assert time.monotonic() < end, "\n".join(self.lines)
            self._read(0.2)
        self._process.close()
        return int(self._process.exitstatus)

    def kill(self) -> None:
        """Kill the process, so that it cannot clean up."""
        self._process.kill(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        try:
            self._process.close(force=True)
        except pexpect.ExceptionPexpect:  # on a busy machine, a killed process takes longer to end
            self._process.wait()

    def _read(self, seconds: float) -> None:
        """Take what arrives until nothing has for some seconds."""
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
            while True:
                self._stream.feed(self._process.read_nonblocking(65536, seconds))


@contextlib.contextmanager
def terminal_session(
    folder: Path, width: int, environment: Mapping[str, str], words: Sequence[str] = ()
) -> Iterator[TerminalSession]:
    """Start a session and wait for its prompt; it is ended after the block."""
    session = TerminalSession(folder, width, environment, words)
    try:
        session.wait_for("Ctrl-D ends the session.", "no model in use yet")
        yield session
    finally:
        session.close()
