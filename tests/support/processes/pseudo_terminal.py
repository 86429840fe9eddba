"""A terminal of any width, and what was written to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from unittest import mock

from harness.settings import CODE_ROOT

SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


@dataclass(slots=True)
class PseudoTerminal:
    """A terminal.

    Attributes:
        stream: the program's end.
        raw: what was written, with escape sequences; complete once the terminal is closed.
    """

    stream: IO[str]
    _written: bytearray = field(default_factory=bytearray)

    @property
    def raw(self) -> str:
        return self._written.decode().replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """What was written, without escape sequences and blanks at the ends of lines."""
        return [line.rstrip() for line in SEQUENCE.sub("", self.raw).splitlines()]

    def read_from(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # raised when the other end is closed
            while piece := os.read(descriptor, 65536):
                self._written += piece


@contextlib.contextmanager
def pseudo_terminal(width: int) -> Iterator[PseudoTerminal]:
    """Open a terminal of `width` columns, which is closed after the block.

    COLUMNS, which pytest-xdist sets, is not in the environment of the block.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        terminal = PseudoTerminal(stream)
        reader = threading.Thread(target=terminal.read_from, args=(ours,))
        reader.start()
        try:
            with mock.patch.dict(os.environ, {"TERM": os.environ.get("TERM", "xterm")}):
                os.environ.pop("COLUMNS", None)
                yield terminal
        finally:
            stream.close()
            reader.join()
            os.close(ours)


def agent_on_terminal(
    folder: Path, line: str, width: int, environment: Mapping[str, str]
) -> PseudoTerminal:
    """Run a line in `folder` with stdout on a terminal; stderr is discarded."""
    with pseudo_terminal(width) as terminal:
        subprocess.run(
            [sys.executable, str(CODE_ROOT / "agent.py"), line],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=terminal.stream,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    return terminal
