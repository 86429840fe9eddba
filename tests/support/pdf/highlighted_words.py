"""Read the highlights of a PDF file with PDFium, and the words that lie under them."""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

HYPHENS = ("-", "\ufffe", "\u0002", "\u00ad")


@dataclass(frozen=True)
class Highlighted:
    """A highlight in a file.

    Attributes:
        text: the words below its quad points, in their order.
    """

    page: int
    author: str
    subject: str
    contents: str
    colour: tuple[int, int, int]
    text: str


def highlighted(path: Path) -> list[Highlighted]:
    """Return the highlights of a file in the order of its pages."""
    with pypdfium2.PdfDocument(path) as document:
        return [one for number, page in enumerate(document) for one in _of_page(number, page)]


def words_of(text: str) -> list[str]:
    """Return the words of a text without hyphens, ligatures and accents."""
    plain = unicodedata.normalize("NFKD", text.replace("-", ""))
    return "".join(char for char in plain if not unicodedata.combining(char)).split()


def _of_page(number: int, page: pypdfium2.PdfPage) -> Iterator[Highlighted]:
    text_page = page.get_textpage()
    chars = list(_chars(text_page.raw))
    text_page.close()
    for index in range(pdfium.FPDFPage_GetAnnotCount(page.raw)):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
        if pdfium.FPDFAnnot_GetSubtype(annotation) == pdfium.FPDF_ANNOT_HIGHLIGHT:
            red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
            pdfium.FPDFAnnot_GetColor(annotation, 0, red, green, blue, alpha)
            yield Highlighted(
                number,
                *(_string(annotation, key) for key in (b"T", b"Subj", b"Contents")),
                (red.value, green.value, blue.value),
                _text(annotation, chars),
            )
        pdfium.FPDFPage_CloseAnnot(annotation)


def _string(annotation: Any, key: bytes) -> str:
    size = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    pdfium.FPDFAnnot_GetStringValue(annotation, key, buffer, size)
    return bytes(buffer).decode("utf-16-le").rstrip("\0")


def _chars(text_page: Any) -> Iterator[tuple[float, float, str]]:
    """Yield the centre of each character, and the character."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for i in range(pdfium.FPDFText_CountChars(text_page)):
        pdfium.FPDFText_GetCharBox(text_page, i, left, right, bottom, top)
        code = pdfium.FPDFText_GetUnicode(text_page, i)
        yield (left.value + right.value) / 2, (bottom.value + top.value) / 2, chr(code)


def _text(annotation: Any, chars: list[tuple[float, float, str]]) -> str:
    text = ""
    quad = pdfium.FS_QUADPOINTSF()
    for number in range(pdfium.FPDFAnnot_CountAttachmentPoints(annotation)):
        pdfium.FPDFAnnot_GetAttachmentPoints(annotation, number, quad)
        assert (quad.x1, quad.y1, quad.x2, quad.y4) == (quad.x3, quad.y2, quad.x4, quad.y3)
        line = "".join(
            char
            for x, y, char in chars
            if quad.x1 <= x <= quad.x2 and quad.y3 <= y <= quad.y1 and char not in "\r\n"
        ).strip()
        text = text[:-1] + line if text.endswith(HYPHENS) else f"{text} {line}".strip()
    return text
