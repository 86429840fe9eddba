"""Read PDF files in a process of its own, which is started again if one of them ends it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError, SkillFailed
from harness.support.reading.text_input import reading, regular_file, shown
from skills.corpus.tables.processes import arguments, how_it_ended

MOST_BYTES = 500_000_000
"""Size of a file."""
SECONDS = 120.0
"""Time for one file, in case the process waits; its processor time is limited to less."""
PATIENCE = 5.0
"""Time in which the process ends when it is no longer needed, before it is killed."""
WORKER = "skills.corpus.tables.pdf.worker"
_MARK = b"%PDF-"
_BEGINNING = 1024
"""Bytes in which the mark is, as readers of PDF accept it."""


class PdfProcess:
    """The process of `worker`, which begins with the first file."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> PdfProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path, sections: Sequence[str] = ()) -> dict[str, Any]:
        """Return what `extracting.extract` reads of a file.

        Raises:
            InputError: it cannot be read, or has no abstract.
            SkillFailed: the process cannot be started.
        """
        path = regular_file(path, what="a paper")
        _check(path)
        answer = self._answer({"path": os.fspath(path.resolve()), "sections": list(sections)})
        if answer is None:
            raise InputError(
                f"cannot be read: {self._end()}", where=shown(path), hint="Is the file damaged?"
            )
        if reason := answer.get("unreadable"):
            raise InputError(reason, where=shown(path))
        return answer

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request, None if the process has ended."""
        process = self._process = self._process or _start()
        requests, answers = _pipes(process)
        timer = threading.Timer(SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            line = answers.readline()
        except OSError:  # it has ended
            return None
        finally:
            timer.cancel()
        found: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return found

    def _end(self) -> str:
        """End the process, and return how it ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return ""
        with process:  # closes its pipes and waits
            with contextlib.suppress(OSError):
                _pipes(process)[0].close()  # it ends when stdin does
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        return how_it_ended(process.returncode, "PDFium")


def _start() -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            **arguments(WORKER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
    except OSError as exc:
        raise SkillFailed(f"the process that reads PDF files cannot be started: {exc}") from exc


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _check(path: Path) -> None:
    """Check what needs no PDFium.

    Raises:
        InputError: the file is too large, or not a PDF.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"has more than {MOST_BYTES // 1_000_000} MB",
            where=shown(path),
            hint="Save the paper without its supplement.",
        )
    with reading(path), path.open("rb") as file:
        if _MARK not in file.read(_BEGINNING):
            raise InputError("is not a PDF file, despite its name", where=shown(path))
