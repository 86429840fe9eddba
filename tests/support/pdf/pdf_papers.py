"""Write PDF files of papers as typesetting programs set them, and that of a scan."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import reportlab
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

FONT, BOLD = "Vera", "VeraBd"
WIDTH, HEIGHT = A4
MARGIN, TOP, BOTTOM = 55.0, 75.0, 65.0
GUTTER = 18.0
SIZE, LEADING = 9.0, 11.5
LIGATURES = {"fi": "\ufb01", "fl": "\ufb02"}

TITLE = "Sorting Papers with Small Models on Modest Machines"
AUTHORS = "Ada Lovelace, Jürgen Müller and Alan Turing"
ABSTRACT = (
    "We present a small model for the classification of scientific papers, which reads abstracts "
    "one at a time and needs no server. It reflects how people file their papers, and is trained "
    "on the fields that libraries have. In five collections it finds the right shelf for 93 "
    "percent of the papers, which is two percent more than the best earlier method. The findings "
    "suggest that a model of this size is sufficient for a personal library."
)
INTRODUCTION = (
    "People file papers on shelves, and they seldom find them again. Many have proposed to leave "
    "this work to large models that run elsewhere, and that is expensive. "
) * 6
LIMITATION = (
    "Our study has only five collections, and all of their papers are in English. The model cannot "
    "read tables or figures. We did not test it with papers from the humanities."
)
CONCLUSION = (
    "We have shown that a small model files papers as well as a large one. Libraries may thus sort "
    "their holdings without sending them to a service."
)
REFERENCES = "[1] C. Babbage. On shelves. 1840. [2] G. Boole. Limitations of shelves. 1850."


@dataclass
class PdfPaper:
    """A paper to be set.

    Attributes:
        columns: of the text; title and authors are over all of them.
        label: the heading of the abstract; one that ends in "—" or "." begins its first line.
        head: a line at the top of each page, beside the number of the page.
        sections: headings and texts after the abstract; a heading that begins with a form feed
            begins a page.
        by_row: draw line after line over all columns, not column after column.
        margin: text on the left margin, from bottom to top.
        information: the entries Title, Author and Subject.
        footnote: small text at the foot of the first column.
    """

    title: str = TITLE
    authors: str = AUTHORS
    abstract: str = ABSTRACT
    columns: int = 2
    label: str = "Abstract"
    head: str = "Journal of Invented Results 7 (2024)"
    sections: Sequence[tuple[str, str]] = (
        ("1 Introduction", INTRODUCTION),
        ("2 Conclusion", CONCLUSION),
        ("Limitations", LIMITATION),
        ("References", REFERENCES),
    )
    by_row: bool = False
    margin: str = ""
    information: Mapping[str, str] = field(default_factory=dict)
    footnote: str = "* The authors contributed equally to this invented work."
    password: str = ""

    def write(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path

    def data(self) -> bytes:
        _register()
        buffer = io.BytesIO()
        encrypt = StandardEncryption(self.password, "owner") if self.password else None
        canvas = Canvas(buffer, pagesize=A4, encrypt=encrypt, invariant=True)
        for name, value in self.information.items():
            getattr(canvas, f"set{name}")(value)
        _Setter(canvas, self).set()
        canvas.save()
        return buffer.getvalue()


@dataclass(frozen=True)
class _Drawn:
    x: float
    y: float
    font: str
    size: float
    text: str


class _Setter:
    def __init__(self, canvas: Canvas, paper: PdfPaper) -> None:
        self.canvas, self.paper = canvas, paper
        self.page, self.column = 1, 0
        self.width = (WIDTH - 2 * MARGIN - GUTTER * (paper.columns - 1)) / paper.columns
        self.top = self.y = HEIGHT - TOP
        self.drawn: list[_Drawn] = []

    def set(self) -> None:
        paper = self.paper
        for line in _wrapped(paper.title, BOLD, 16, WIDTH - 2 * MARGIN):
            self._centred(line, BOLD, 16)
        self._centred(paper.authors, FONT, 10)
        self.top = self.y = self.y - 20
        if paper.margin:
            self.canvas.saveState()
            self.canvas.translate(25, 250)
            self.canvas.rotate(90)
            self.canvas.setFont(FONT, 14)
            self.canvas.drawString(0, 0, paper.margin)
            self.canvas.restoreState()
        run_in = paper.label[-1:] in ("—", ".", ":")
        if paper.label and not run_in:
            self._heading(paper.label)
        blank = "" if paper.label.endswith("—") else " "
        self._text(f"{paper.label}{blank}{paper.abstract}" if run_in else paper.abstract)
        for heading, text in paper.sections:
            if heading.startswith("\f"):
                self.column = paper.columns - 1
                self._next_column()
            self._heading(heading.strip())
            self._text(text)
        self._finish_page()

    def _centred(self, text: str, font: str, size: float) -> None:
        x = (WIDTH - pdfmetrics.stringWidth(text, font, size)) / 2
        self.drawn.append(_Drawn(x, self.y, font, size, text))
        self.y -= 1.4 * size

    def _heading(self, text: str) -> None:
        self.y -= 6
        self._line(text, BOLD, 11)
        self.y -= 3

    def _text(self, text: str) -> None:
        for line in _wrapped(text, FONT, SIZE, self.width):
            self._line(line, FONT, SIZE)

    def _line(self, text: str, font: str, size: float) -> None:
        bottom = BOTTOM + 25 * (self.page == 1 and self.column == 0)
        if self.y < bottom:
            self._next_column()
        x = MARGIN + self.column * (self.width + GUTTER)
        self.drawn.append(_Drawn(x, self.y, font, size, text))
        self.y -= LEADING

    def _next_column(self) -> None:
        self.column += 1
        if self.column == self.paper.columns:
            self._finish_page()
            self.canvas.showPage()
            self.page, self.column, self.top = self.page + 1, 0, HEIGHT - TOP
        self.y = self.top

    def _draw(self, one: _Drawn) -> None:
        """Draw a line; what is between two carets is raised."""
        text = self.canvas.beginText(one.x, one.y)
        for number, part in enumerate(_with_ligatures(one.text).split("^")):
            text.setFont(one.font, one.size * (0.6 if number % 2 else 1))
            text.setRise(one.size * 0.4 * (number % 2))
            text.textOut(part)
        self.canvas.drawText(text)

    def _finish_page(self) -> None:
        lines = self.drawn
        if self.paper.by_row:
            lines = sorted(lines, key=lambda one: (-one.y, one.x))
        if self.page == 1 and self.paper.footnote:
            lines = [*lines, _Drawn(MARGIN, BOTTOM + 5, FONT, 6, self.paper.footnote)]
        if self.paper.head:
            lines = [_Drawn(MARGIN, HEIGHT - 40, FONT, 8, self.paper.head), *lines]
            lines += [_Drawn(WIDTH / 2, 35, FONT, 8, str(self.page))]
        for one in lines:
            self._draw(one)
        self.drawn = []


def _wrapped(text: str, font: str, size: float, width: float) -> Iterator[str]:
    """Yield lines; a word that does not fit is divided if it is long."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if pdfmetrics.stringWidth(longer, font, size) <= width:
            line = longer
            continue
        half = len(word) // 2
        begun = f"{line} {word[:half]}-"
        fits = pdfmetrics.stringWidth(begun, font, size) <= width
        if word.isalpha() and len(word) > 7 and font == FONT and fits:
            yield begun
            line = word[half:]
        else:
            yield line
            line = word
    if line:
        yield line


def _with_ligatures(text: str) -> str:
    for letters, ligature in LIGATURES.items():
        text = text.replace(letters, ligature)
    return text


def _register() -> None:
    fonts = Path(reportlab.__file__).parent / "fonts"
    for name in (FONT, BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, fonts / f"{name}.ttf"))


def joined(path: Path, *files: bytes) -> Path:
    """Write a PDF file with the pages of these."""
    import pypdfium2

    with pypdfium2.PdfDocument.new() as document:
        for data in files:
            with pypdfium2.PdfDocument(data) as one:
                document.import_pages(one)
        document.save(path)
    return path


def scan() -> bytes:
    """Return a PDF file with the picture of a page, and no text."""
    from PIL import Image

    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=True)
    canvas.drawImage(ImageReader(Image.new("L", (400, 600), 230)), 50, 50, 400, 600)
    canvas.save()
    return buffer.getvalue()
