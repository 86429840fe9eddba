"""Read files in a separate process, one file after another.

If a parser crashes, hangs or needs too much memory, only the separate process ends, and a new
process reads the next file. The process runs a module that calls `serve`. A request is a line of
JSON with the path and the options of a file. Each answer is a line of JSON, and the line `null`
ends the answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.settings import CODE_ROOT
from harness.support.process import with_modules

MEMORY = 2 * 1024**3
"""Upper limit of the bytes of memory that the process may use for a file of any size."""
LEAST_MEMORY, MEMORY_PER_BYTE = 45_000_000, 32
"""The memory limit for a file: a fixed number of bytes, plus a number for each byte of the file.

For each byte of the file, a table of texts needs 20 bytes, and a page with a figure of 500,000
lines needs 35 bytes, which is within the limit if the file has less than 15 MB.
"""
CPU_SECONDS = 40
"""Maximum seconds of CPU time for a file."""
SECONDS = 120.0
"""Maximum wall-clock seconds for a file, including the time in which the process waits."""
PATIENCE = 5.0
"""Number of seconds after which a process that does not end by itself is killed."""


class Unreadable(Exception):
    """Raised if a file cannot be read; the message is the reason.

    Attributes:
        signal: the number of the signal that ended the process, or 0.
    """

    signal: int = 0


def memory_for(path: str | Path, least: int = LEAST_MEMORY) -> int:
    """Return the number of bytes of memory that the process may use for a file, up to `MEMORY`.

    Args:
        least: the number of bytes for an empty file.
    """
    return min(least + MEMORY_PER_BYTE * Path(path).stat().st_size, MEMORY)


class ReaderProcess(contextlib.AbstractContextManager["ReaderProcess"]):
    """A context manager for a process that reads files.

    The process is started when the first file is read.

    Args:
        module: the module that the process runs.
        library: the name of the parser, for messages.
        seconds: maximum time in seconds for a file; None for `SECONDS`.
    """

    def __init__(self, module: str, library: str, seconds: float | None = None) -> None:
        self._module, self._library, self._seconds = module, library, seconds
        self._process: subprocess.Popen[str] | None = None

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path, **options: Any) -> Iterator[Any]:
        """Yield the answers of the process for a file.

        Args:
            options: keyword arguments of the function that the process passes to `serve`.

        Raises:
            Unreadable: the file cannot be read.
            SkillFailed: the process cannot be started.
        """
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(self._seconds or SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(OSError):  # raised if the process has ended
                request = {"path": os.fspath(path.resolve()), **options}
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    if not line.endswith("\n"):
                        break
                    answer = json.loads(line)
                    if answer is None:
                        return
                    if isinstance(answer, dict) and "unreadable" in answer:
                        process.stdout.readline()  # skips the line `null`
                        raise Unreadable(answer["unreadable"])
                    yield answer
        finally:
            timer.cancel()
        raise self._end()

    def _start(self) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", self._module],
                env=with_modules(CODE_ROOT),
                start_new_session=True,  # Ctrl-C then interrupts only the parent process
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        except OSError as exc:
            raise SkillFailed(f"the process that reads files cannot be started: {exc}") from exc

    def _end(self) -> Unreadable:
        """End the process, and return the reason for its exit as an `Unreadable`."""
        process, self._process = self._process, None
        if process is None:
            return Unreadable()
        with process:  # closes the pipes and waits
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()  # `serve` returns at the end of stdin
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.returncode
        if code in (-getattr(signal, "SIGXCPU", 0), -getattr(signal, "SIGKILL", 0)):
            reason = "it takes too long, or too much memory"
        elif code < 0:
            reason = f"{self._library} crashed ({signal.Signals(-code).name})"
        else:
            reason = f"the process that read it ended with exit code {code}"
        ended = Unreadable(f"cannot be read: {reason}")
        ended.signal = max(0, -code)
        return ended


def serve(read: Callable[..., Iterable[Any]], least_memory: int = LEAST_MEMORY) -> None:
    """Answer the requests of a `ReaderProcess` until stdin ends.

    Args:
        read: called with the path and the options of a file; returns the answers, or raises
            Unreadable.
        least_memory: the value of `least` for `memory_for`.
    """
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a warning of a parser must not become an answer
    for line in sys.stdin:
        request = json.loads(line)
        limit("RLIMIT_CPU", int(time.process_time()) + CPU_SECONDS)
        memory = memory_for(request["path"], least_memory)
        limit("RLIMIT_AS", _addresses() + memory)
        for answer in _answers(read, request, memory):
            output.write(json.dumps(answer) + "\n")
        output.write("null\n")
        output.flush()


def _answers(
    read: Callable[..., Iterable[Any]], request: dict[str, Any], memory: int
) -> Iterator[Any]:
    try:
        yield from read(**request)
    except Unreadable as error:
        yield {"unreadable": str(error)}
    except MemoryError:
        yield {"unreadable": f"needs more than {memory // 1_000_000:,} MB of memory"}
    except Exception as error:  # noqa: BLE001 an error in `read` affects only one file
        *_, frame = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        yield {"unreadable": f"cannot be read: {type(error).__name__}: {error} ({place})"}


def _addresses() -> int:
    """Return the size in bytes of the address space in use, or `MEMORY` without /proc."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return MEMORY


def limit(name: str, value: int) -> None:
    """Set the soft limit of a resource, if the system supports such limits.

    Args:
        name: a constant of the module `resource`, such as "RLIMIT_CPU".
    """
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))
