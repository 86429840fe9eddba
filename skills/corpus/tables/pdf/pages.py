"""Read the lines of a PDF file without running heads, within limits."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pypdfium2.raw as pdfium

from skills.corpus.tables.pdf import characters
from skills.corpus.tables.pdf.characters import Line
from skills.corpus.tables.pdf.columns import in_reading_order

MOST_PAGES = 200
"""Pages that are read; of a longer file, such as a thesis, the first ones."""
SECONDS = 20.0
"""Processor time after which no further page is read."""
EDGE = 3
"""Lines at the top and at the bottom of a page that may be running heads."""
_NUMBER = re.compile(
    r"(?:page\s*)?[-–—|.\s]*(?:\d{1,5}|[ivxl]{1,6})[-–—|.\s]*(?:(?:of|/)\s*\d+)?",  # noqa: RUF001
    re.IGNORECASE,
)
_ERRORS = {
    pdfium.FPDF_ERR_FORMAT: "is damaged: PDFium cannot read it",
    pdfium.FPDF_ERR_PASSWORD: "is encrypted and needs a password",
    pdfium.FPDF_ERR_SECURITY: "is encrypted in a way that PDFium does not support",
}


class Unreadable(Exception):
    """The file cannot be read; the text states why."""


@dataclass(slots=True)
class Pages:
    """The pages of a file, each read when it is needed.

    Attributes:
        count: of all pages of the file.
        turned: the text of the first page that does not run from left to right.
    """

    path: Path
    count: int = 0
    turned: str = ""
    _document: Any = None
    _until: float = 0.0
    _read: list[list[Line]] = field(default_factory=list)

    def __enter__(self) -> Pages:
        self._until = time.process_time() + SECONDS
        self._document = pdfium.FPDF_LoadDocument(os.fsencode(self.path), None)
        if not self._document:
            code = pdfium.FPDF_GetLastError()
            raise Unreadable(_ERRORS.get(code, "cannot be opened by PDFium"))
        self.count = pdfium.FPDF_GetPageCount(self._document)
        return self

    def __exit__(self, *_: object) -> None:
        pdfium.FPDF_CloseDocument(self._document)

    def lines(self, count: int) -> list[Line]:
        """Return the lines of the first pages in reading order."""
        wanted = min(count, self.count, MOST_PAGES)
        while len(self._read) < wanted and time.process_time() < self._until:
            self._read.append(self._page(len(self._read)))
        pages = self._read[:wanted]
        edges = [_at_edge(page) for page in pages]
        repeated = _repeated(edges)
        heads = {
            id(line)
            for edge in edges
            for line in edge
            if _is_page_number(line) or _key(line) in repeated
        }
        return [line for page in pages for line in page if id(line) not in heads]

    def information(self, name: str) -> str:
        """Return an entry of the document information, such as "Title"; "" if it has none."""
        size = pdfium.FPDF_GetMetaText(self._document, name.encode(), None, 0)
        if not 2 < size < 10_000:
            return ""
        buffer = ctypes.create_string_buffer(size)
        pdfium.FPDF_GetMetaText(self._document, name.encode(), buffer, size)
        return " ".join(buffer.raw[: size - 2].decode("utf-16-le", "replace").split())

    def _page(self, number: int) -> list[Line]:
        """Return the lines of a page; none if it is damaged."""
        page = pdfium.FPDF_LoadPage(self._document, number)
        if not page:
            return []
        try:
            text_page = pdfium.FPDFText_LoadPage(page)
            if not text_page:
                return []
            try:
                found = characters.read(text_page)
            finally:
                pdfium.FPDFText_ClosePage(text_page)
        finally:
            pdfium.FPDF_ClosePage(page)
        if number == 0:
            self.turned = found.turned
        lines = in_reading_order(found.pieces)
        for line in lines:
            line.page = number
        return lines


def _at_edge(page: Sequence[Line]) -> list[Line]:
    down = sorted(page, key=lambda line: -line.y)
    return [*down[:EDGE], *down[max(EDGE, len(down) - EDGE) :]]


def _repeated(edges: Sequence[Sequence[Line]]) -> set[tuple[str, int]]:
    """Return the keys of the lines that are at the same place of two pages or more."""
    counts = Counter(key for edge in edges for key in {_key(line) for line in edge})
    return {key for key, count in counts.items() if count > 1}


def _key(line: Line) -> tuple[str, int]:
    """Return what running heads have in common: the text without numbers, and the height."""
    return re.sub(r"[\d\s]+", "", line.text).casefold(), round(line.y / 8)


def _is_page_number(line: Line) -> bool:
    return _NUMBER.fullmatch(line.text.strip()) is not None
