"""Read a PDF file, or the PDF files in a folder and its subfolders, as a table of papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.support import bounded_files
from harness.support.text_input import at_home, reading, regular_file, shown
from skills.corpus.tables.columns import Columns, Reader
from skills.corpus.tables.parquet_files import is_part
from skills.corpus.tables.reader_process import ReaderProcess, Unreadable, memory_for

SUFFIX = ".pdf"
MOST_ENTRIES = 200_000
"""Maximum number of files and folders in a folder of PDF files and its subfolders."""
MOST_BYTES = 500_000_000
"""Maximum size of a PDF file in bytes."""
COLUMNS = ("id", "title", "abstract", "authors", "published", "categories")
WORKER = "skills.corpus.pdf.extraction"
_MARK, _BEGINNING = b"%PDF-", 1024
"""The mark of a PDF file, which the first `_BEGINNING` bytes must contain."""


class PdfReader(Reader):
    """Reads PDF files as rows; the position of a row is the number of its file."""

    unit = "file"
    source_keys = ("doi", "arxiv_id")
    has_ids_of_several_sources = True
    has_sections = True

    def __init__(self, path: Path, columns: Columns | None = None) -> None:
        super().__init__(path, columns)
        place = at_home(path)
        self._files = list(_pdfs_in(place)) if place.is_dir() else [place]

    def located(self, position: int) -> tuple[Path, int]:
        return self._files[position - 1], 1

    def place(self, position: int) -> str:
        return shown(self._files[position - 1])

    def header(self) -> tuple[str, ...]:
        return COLUMNS

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any] | InputError]]:
        with ReaderProcess(WORKER, "PDFium") as process:
            for position, path in enumerate(self._files, start=1):
                try:
                    found = read_pdf(process, path, self._columns.sections)
                except InputError as error:
                    yield position, error
                else:
                    paper_id = found.get("arxiv_id") or found.get("doi") or ""
                    yield position, {**found, "id": paper_id}


def read_pdf(process: ReaderProcess, path: Path, sections: Sequence[str] = ()) -> dict[str, Any]:
    """Read a file in a process, and return the result of `extraction.extract`.

    Raises:
        InputError: the file cannot be read, or has no abstract.
        SkillFailed: the process cannot be started.
    """
    path = check_pdf(path)
    try:
        [found] = process.read(path, sections=list(sections))
    except Unreadable as exc:
        most = memory_for(path) // 1_000_000
        hint = f"The file may be damaged, or need more than {most:,} MB." if exc.signal else None
        raise InputError(str(exc), where=shown(path), hint=hint) from exc
    return dict(found)


def check_pdf(path: Path) -> Path:
    """Return the path of a PDF file after checking its size and its first bytes.

    Raises:
        InputError: the file does not exist, is too large, or is not a PDF file.
    """
    path = regular_file(path, what="a paper")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"has more than {MOST_BYTES // 1_000_000} MB",
            where=shown(path),
            hint="Save the paper without its supplement.",
        )
    with reading(path), path.open("rb") as file:
        if _MARK not in file.read(_BEGINNING):
            raise InputError("is not a PDF file, despite its name", where=shown(path))
    return path


def is_of_pdfs(path: Path) -> bool:
    """Return True for a path with the suffix .pdf, and for a folder of PDF files.

    A folder of PDF files contains a PDF file, directly or in a subfolder, and contains no Parquet
    file directly.
    """
    place = at_home(path)
    if not place.is_dir():
        return path.suffix.lower() == SUFFIX
    with reading(path):
        is_of_parts = any(is_part(one.name) for one in place.iterdir())
    return not is_of_parts and next(_pdfs_in(place), None) is not None


def _pdfs_in(folder: Path) -> Iterator[Path]:
    """Yield the PDF files in a folder and its subfolders, without hidden files and folders.

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
        raise InputError(str(cut), where=shown(folder), hint="Name a subfolder.") from cut
