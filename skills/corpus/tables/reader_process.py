"""Read files of foreign formats, one after the other, in a separate process.

If a parser crashes on a file, does not end, or needs too much memory, only this process ends; it is
started again for the next file. The process runs a module that calls `serve`. A request is a line
of JSON with the path and the options of a file; each answer is a line of JSON, and the line `null`
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

MEMORY = 2 * 1024**3
"""Maximum number of bytes of memory that the process may use for a file."""
LEAST_MEMORY, MEMORY_PER_BYTE = 45_000_000, 32
"""Number of bytes of memory that the process may use for every file, and additional bytes for each
byte of the file. A page with 500,000 lines of a figure needs 35 bytes for each byte, a table of
texts 20.
"""
CPU_SECONDS = 40
"""Maximum processor time in seconds for a file."""
SECONDS = 120.0
"""Maximum time in seconds for a file, in case the process waits."""
PATIENCE = 5.0
"""Seconds that the process has to end when it is no longer needed, before it is killed."""


class Unreadable(Exception):
    """Raised if a file cannot be read; its text is the reason.

    Attributes:
        signal: the signal that ended the process, or None.
    """

    signal: int = 0


def memory_for(path: str | Path) -> int:
    """Return the number of bytes of memory that may be used for a file."""
    return min(LEAST_MEMORY + MEMORY_PER_BYTE * Path(path).stat().st_size, MEMORY)


class ReaderProcess:
    """The process that reads files; it starts with the first file.

    Args:
        module: the module that the process runs.
        library: the name of the parser, for messages.
        seconds: maximum time in seconds for a file; None for `SECONDS`.
    """

    def __init__(self, module: str, library: str, seconds: float | None = None) -> None:
        self._module, self._library, self._seconds = module, library, seconds
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path, **options: Any) -> Iterator[Any]:
        """Yield the answers of the process about a file.

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
            with contextlib.suppress(OSError):  # the process has ended
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
                        process.stdout.readline()  # the line `null`
                        raise Unreadable(answer["unreadable"])
                    yield answer
        finally:
            timer.cancel()
        raise self._end()

    def _start(self) -> subprocess.Popen[str]:
        paths = [str(CODE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", self._module],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for the parent process
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        except OSError as exc:
            raise SkillFailed(f"the process that reads files cannot be started: {exc}") from exc

    def _end(self) -> Unreadable:
        """End the process, and return the error that describes its end."""
        process, self._process = self._process, None
        if process is None:
            return Unreadable()
        with process:  # closes the pipes and waits
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()  # the process ends when stdin is closed
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.returncode
        if code in (-getattr(signal, "SIGXCPU", 0), -getattr(signal, "SIGKILL", 0)):
            ended = Unreadable("cannot be read: it takes too long, or too much memory")
        elif code < 0:
            name = signal.Signals(-code).name
            ended = Unreadable(f"cannot be read: {self._library} crashed ({name})")
        else:
            reason = f"the process that read it ended with exit code {code}"
            ended = Unreadable(f"cannot be read: {reason}")
        ended.signal = max(0, -code)
        return ended


def serve(read: Callable[..., Iterable[Any]]) -> None:
    """Answer the requests of a `ReaderProcess` until stdin ends.

    Args:
        read: called with the path and the options of a file; returns the answers, or raises
            Unreadable.
    """
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # parsers print warnings
    for line in sys.stdin:
        request = json.loads(line)
        limit("RLIMIT_CPU", int(time.process_time()) + CPU_SECONDS)
        limit("RLIMIT_AS", _addresses() + memory_for(request["path"]))
        for answer in _answers(read, request):
            output.write(json.dumps(answer) + "\n")
        output.write("null\n")
        output.flush()


def _answers(read: Callable[..., Iterable[Any]], request: dict[str, Any]) -> Iterator[Any]:
    try:
        yield from read(**request)
    except Unreadable as error:
        yield {"unreadable": str(error)}
    except MemoryError:
        most = memory_for(request["path"]) // 1_000_000
        yield {"unreadable": f"needs more than {most:,} MB of memory"}
    except Exception as error:  # noqa: BLE001 a fault of this code affects only this file
        *_, frame = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        yield {"unreadable": f"cannot be read: {type(error).__name__}: {error} ({place})"}


def _addresses() -> int:
    """Return the size of the address space of this process; the maximum if unknown."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return MEMORY


def limit(name: str, value: int) -> None:
    """Set the soft limit of a resource for this process, on systems that have limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))
