"""Read a PDF file, or those of a folder and its folders, as a table of papers.

A file is read by `process` once; what was read is kept in a temporary file while the table is open,
since a job reads its table several times. A file that has changed is read again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError, SkillFailed
from harness.support import bounded_files
from harness.support.text_input import at_home, reading, regular_file, shown
from skills.corpus.db.connection import open_temporary
from skills.corpus.tables.columns import Columns, Reader
from skills.corpus.tables.parquet_files import is_part
from skills.corpus.tables.reader_process import arguments, how_it_ended

SUFFIX = ".pdf"
MOST_ENTRIES = 200_000
"""Files and folders in a folder of papers."""
COLUMNS = ("id", "title", "abstract", "authors", "published", "categories")


class PdfReader(Reader):
    """Reader of PDF files; a position is the number of a file."""

    unit = "file"
    source_keys = ("doi", "arxiv_id")
    has_ids_of_several_sources = True
    has_sections = True

    def __init__(self, path: Path, columns: Columns | None = None) -> None:
        super().__init__(path, columns)
        self._sections = self._columns.sections
        self._files = find_pdfs(path)
        self._read = open_temporary(
            "CREATE TABLE papers (position INTEGER PRIMARY KEY, state TEXT, answer TEXT)"
        )

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def located(self, position: int) -> tuple[Path, int]:
        return self._files[position - 1], 1

    def place(self, position: int) -> str:
        return shown(self._files[position - 1])

    def header(self) -> tuple[str, ...]:
        return COLUMNS

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any] | InputError]]:
        with PdfProcess() as process:
            for position, path in enumerate(self._files, start=1):
                try:
                    yield position, _row(self._answer(process, position, path))
                except InputError as error:
                    yield position, error

    def _answer(self, process: PdfProcess, position: int, path: Path) -> dict[str, Any]:
        """Return what is read of a file, now or before."""
        with reading(path):
            status = path.stat()
        state = f"{status.st_size} {status.st_mtime_ns}"
        query = "SELECT answer FROM papers WHERE position = ? AND state = ?"
        known = self._read.execute(query, [position, state]).fetchone()
        if known is None:
            try:
                answer = process.read(path, self._sections)
            except InputError as error:
                answer = {"error": [error.message, error.hint]}
            known = (json.dumps(answer),)
            self._read.execute(
                "INSERT OR REPLACE INTO papers VALUES (?, ?, ?)", [position, state, known[0]]
            )
        answer = json.loads(known[0])
        if "error" in answer:
            message, hint = answer["error"]
            raise InputError(message, where=shown(path), hint=hint)
        return dict(answer)


def is_pdf(path: Path | None) -> bool:
    """Return True for the name of a PDF file."""
    return path is not None and path.suffix.lower() == SUFFIX


def is_of_pdfs(path: Path) -> bool:
    """Return True for a PDF file, and for a folder that has PDF files and is none of parts."""
    place = at_home(path)
    if not place.is_dir():
        return is_pdf(path)
    with reading(path):
        is_of_parts = any(is_part(one.name) for one in place.iterdir())
    return not is_of_parts and next(_pdfs_in(place), None) is not None


def find_pdfs(path: Path) -> list[Path]:
    """Return a PDF file, or those of a folder, in the order of their names.

    Raises:
        InputError: the folder has too many entries.
    """
    place = at_home(path)
    return list(_pdfs_in(place)) if place.is_dir() else [place]


def _pdfs_in(folder: Path) -> Iterator[Path]:
    """Yield the PDF files of a folder; hidden files and folders are left out.

    Raises:
        InputError: the folder has too many entries.
    """
    try:
        for place, folders, files in bounded_files.walk(folder, MOST_ENTRIES):
            folders[:] = [name for name in folders if name[0] != "."]
            for name in files:
                if name.lower().endswith(SUFFIX) and name[0] != ".":
                    yield place / name
    except bounded_files.Unsearched as cut:
        raise InputError(str(cut), where=shown(folder), hint="Name a folder in it.") from cut


def _row(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a paper; its id is the one at arXiv or the DOI, if it has one."""
    return {**answer, "id": answer.get("arxiv_id") or answer.get("doi") or ""}


MOST_BYTES = 500_000_000
"""Size of a file."""
SECONDS = 120.0
"""Time for one file, in case the process waits; its processor time is limited to less."""
PATIENCE = 5.0
"""Time in which the process ends when it is no longer needed, before it is killed."""
WORKER = "skills.corpus.pdf.extraction"
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
