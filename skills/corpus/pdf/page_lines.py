"""Join the pieces of text on a page into lines, and sort the lines in reading order.

A gutter is a horizontal position that few lines cross and that has lines on both sides. The lines
that cross a gutter, such as a title above two columns, divide the page into bands. Within a band,
the columns are read one after another. Text beside a block of crossing lines, such as "Article
info" beside the abstract, is read before the block if it is on the left, or else after the block.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pypdfium2.raw as pdfium_c
from pypdfium2 import PdfDocument, PdfiumError

from skills.corpus.pdf import page_text
from skills.corpus.pdf.page_text import Line
from skills.corpus.tables.reader_process import Unreadable

CROSSING = 0.35
"""Maximum share of the lines of a page that cross a gutter, such as lines of a title."""
BESIDE = 0.15
"""Minimum share of a page's lines on each side of a gutter, if a line crosses the gutter."""
FEWEST = 6
"""Minimum number of lines on each side of a gutter."""
ALIKE = 0.08
"""Maximum difference between the shares of lines that cross two gutters of the same page."""
FEW = 0.03
"""Maximum share of lines that cross each of two gutters if the columns differ in width."""
MOST_PLACES = 500
"""Maximum number of positions that are tested as gutters on a page."""
MOST_PIECES = 5000
"""Maximum number of pieces that are sorted; more pieces are kept in the order of the file.

A page of text typically has 200 pieces, but a drawing may have many more.
"""
STEP = 2.0
"""Minimum distance in points between two positions that are tested as gutters.

A line crosses a gutter if the line extends more than this distance to both sides of the gutter.
"""
WIDE = 2.0
"""Maximum distance in ems between two pieces on a baseline that are joined into one line."""
MOST_PAGES = 200
"""Maximum number of pages that are read; later pages, as in a thesis, are ignored."""
SECONDS = 20.0
"""CPU seconds after which no further page is read."""
LONGEST_ENTRY = 5000
"""Number of characters from which a value in the document information is ignored."""
EDGE = 3
"""Number of lines at each end of a page that may be running heads."""
_PAGE_NUMBER = re.compile(
    r"(?:page\s*)?[-–—|.\s]*(?:\d{1,5}|[ivxl]{1,6})[-–—|.\s]*(?:(?:of|/)\s*\d+)?",  # noqa: RUF001
    re.IGNORECASE,
)
_ERRORS = {
    pdfium_c.FPDF_ERR_FORMAT: "is damaged: PDFium cannot read it",
    pdfium_c.FPDF_ERR_PASSWORD: "is encrypted and needs a password",
    pdfium_c.FPDF_ERR_SECURITY: "is encrypted in a way that PDFium does not support",
}


def in_reading_order(pieces: Sequence[Line]) -> list[Line]:
    """Join the pieces of a page into lines, and return the lines in reading order.

    Joining modifies the given pieces. Line numbers and blank pieces are removed. If more than
    `MOST_PIECES` pieces remain, the pieces are neither joined nor sorted.
    """
    shown = [piece for piece in _without_numbering(pieces) if piece.text.strip()]
    if not shown or len(shown) > MOST_PIECES:
        return shown
    gutters = _gutters(shown)
    lines = _joined(shown, gutters)
    middle = gutters or [(min(one.left for one in lines) + max(one.right for one in lines)) / 2]
    across = [
        line
        for line in lines
        if any(line.left < place - STEP and line.right > place + STEP for place in middle)
    ]
    return _by_block(lines, _blocks(across), gutters)


def _by_block(
    lines: Sequence[Line], blocks: Sequence[list[Line]], gutters: Sequence[float]
) -> list[Line]:
    """Return the lines in reading order.

    The lines above a block are read first, column by column. The text on the left of the block
    is read next, then the block itself, and then the text on its right.

    Args:
        blocks: the blocks of lines that cross a gutter.
    """
    inside = {id(line) for block in blocks for line in block}
    others = [line for line in lines if id(line) not in inside]
    found: list[Line] = []
    for block in blocks:
        top, bottom = block[0], block[-1]
        above = [line for line in others if line.y > top.y + top.size / 2]
        beside = [
            line for line in others if bottom.y - bottom.size / 2 <= line.y <= top.y + top.size / 2
        ]
        others = [line for line in others if line.y < bottom.y - bottom.size / 2]
        left = min(line.left for line in block)
        right = max(line.right for line in block)
        found += _by_column(above, gutters)
        found += _down(line for line in beside if line.right <= left)
        found += _down(
            [*block, *(line for line in beside if line.right > left and line.left < right)]
        )
        found += _down(line for line in beside if line.left >= right and line.right > left)
    return found + _by_column(others, gutters)


def _by_column(lines: Iterable[Line], gutters: Sequence[float]) -> list[Line]:
    """Return the lines from top to bottom, one column after another."""
    return sorted(
        _down(lines), key=lambda line: bisect.bisect(gutters, (line.left + line.right) / 2)
    )


def _down(lines: Iterable[Line]) -> list[Line]:
    """Return the lines from top to bottom."""
    return sorted(lines, key=lambda line: (-line.y, line.left))


def _blocks(across: Sequence[Line]) -> list[list[Line]]:
    """Return blocks of lines, from top to bottom, with little vertical space within a block.

    Args:
        across: the lines that cross a gutter.
    """
    blocks: list[list[Line]] = []
    for line in _down(across):
        if blocks and blocks[-1][-1].y - line.y <= 2.2 * max(line.size, blocks[-1][-1].size):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks


def _joined(pieces: Sequence[Line], gutters: Sequence[float]) -> list[Line]:
    """Join the pieces on each baseline into lines; a gutter or a wide space ends a line."""
    rows: list[list[Line]] = []
    for piece in sorted(pieces, key=lambda one: -one.y):
        if rows and rows[-1][0].y - piece.y <= 0.4 * max(piece.size, rows[-1][0].size):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    found: list[Line] = []
    for row in rows:
        before: Line | None = None
        for piece in sorted(row, key=lambda one: one.left):
            if (
                before is not None
                and piece.left - before.right <= WIDE * max(before.size, piece.size)
                and not any(before.right - STEP <= at <= piece.left + STEP for at in gutters)
            ):
                _extend(before, piece)
            else:
                found.append(piece)
                before = piece
    return found


def _extend(line: Line, piece: Line) -> None:
    longer = len(piece.text) > len(line.text)
    if line.bold and not piece.bold:
        line.lead = " ".join(filter(None, (line.text, piece.lead)))
    line.bold = line.bold and piece.bold
    line.text += " " * (piece.left - line.right > 0.1 * line.size) + piece.text
    line.chars = line.chars + piece.chars
    line.right = max(line.right, piece.right)
    if longer:
        line.size, line.font, line.y = piece.size, piece.font, piece.y


def _gutters(pieces: Sequence[Line]) -> list[float]:
    """Return the horizontal positions of at most two gutters, in points from the left.

    Two gutters are returned only if the three columns have similar widths, or if hardly any line
    crosses a gutter, as on a page with a column of margin notes.
    """
    usual = statistics.median(piece.size for piece in pieces)
    text = [one for one in pieces if 0.7 * usual <= one.size <= 1.3 * usual] or pieces
    lefts, rights = sorted(one.left for one in text), sorted(one.right for one in text)
    left, right = lefts[0], rights[-1]
    margin = (right - left) / 6
    # A larger step limits the number of positions on a damaged, very wide page.
    step = max(STEP, (right - left) / MOST_PLACES)
    count = int((right - left - 2 * margin) / step) + 1
    places = [left + margin + step * i for i in range(count)]
    found = [(n, place) for place in places if (n := _crossing(lefts, rights, place)) is not None]
    most = min((n for n, _ in found), default=0) + ALIKE * len(text)
    valleys: list[list[tuple[int, float]]] = []
    for n, place in found:
        if n > most:
            continue
        if not valleys or place - valleys[-1][-1][1] > margin:
            valleys.append([])
        valleys[-1].append((n, place))
    places = []
    for valley in valleys:
        fewest = min(n for n, _ in valley)
        places.append(statistics.median(place for n, place in valley if n == fewest))
    widths = [end - begin for begin, end in itertools.pairwise([left, *places, right])]
    crossed = [min(n for n, _ in valley) for valley in valleys]
    alike = max(widths) <= 1.5 * min(widths) or max(crossed, default=0) <= FEW * len(text)
    if len(valleys) <= 1 or (len(valleys) == 2 and alike):
        return places
    return [places[crossed.index(min(crossed))]]


def _crossing(lefts: Sequence[float], rights: Sequence[float], place: float) -> int | None:
    """Return the number of lines that cross `place`, or None if `place` cannot be a gutter.

    Args:
        lefts: the left ends of all lines, sorted.
        rights: the right ends of all lines, sorted.
        place: a horizontal position in points.
    """
    before = bisect.bisect_right(rights, place + STEP)
    after = len(lefts) - bisect.bisect_left(lefts, place - STEP)
    crossing = len(lefts) - before - after
    least = max(FEWEST, BESIDE * len(lefts) * bool(crossing))
    is_gutter = crossing <= CROSSING * len(lefts) and min(before, after) >= least
    return crossing if is_gutter else None


def _without_numbering(pieces: Sequence[Line]) -> list[Line]:
    """Return the pieces without line numbers, which manuscripts have in the margin."""
    numbers = [piece for piece in pieces if piece.text.isdecimal() and len(piece.text) <= 4]
    numbered = set(map(id, numbers))
    others = [piece for piece in pieces if id(piece) not in numbered]
    if len(numbers) < 15 or not others:
        return list(pieces)
    left, right = min(one.left for one in others), max(one.right for one in others)
    return [one for one in pieces if id(one) not in numbered or left < one.left < right]


class Pages(contextlib.AbstractContextManager["Pages"]):
    """An open PDF file; its pages are read when they are needed.

    Attributes:
        turned: the text on the first page that is not written from left to right.
    """

    def __init__(self, path: Path) -> None:
        self.turned = ""
        self._until = time.process_time() + SECONDS
        self._read: list[list[Line]] = []
        try:
            self._document = PdfDocument(path)
        except PdfiumError as exc:
            raise Unreadable(_ERRORS.get(exc.err_code, "cannot be opened by PDFium")) from exc

    def __exit__(self, *_: object) -> None:
        self._document.close()

    def lines(self, count: int) -> list[Line]:
        """Return the lines of the first `count` pages in reading order, without running heads.

        Pages after `MOST_PAGES`, and pages that are not read within `SECONDS`, are omitted.
        """
        wanted = min(count, len(self._document), MOST_PAGES)
        while len(self._read) < wanted and time.process_time() < self._until:
            self._read.append(self._page(len(self._read)))
        pages = self._read[:wanted]
        downwards = [sorted(page, key=lambda line: -line.y) for page in pages]
        edges = [[*page[:EDGE], *page[EDGE:][-EDGE:]] for page in downwards]
        counts = Counter(key for edge in edges for key in {_key(line) for line in edge})
        heads = {
            id(line)
            for edge in edges
            for line in edge
            if counts[_key(line)] > 1 or _PAGE_NUMBER.fullmatch(line.text.strip())
        }
        return [line for page in pages for line in page if id(line) not in heads]

    def boxes(self, page: int, chars: Iterable[int]) -> list[tuple[float, float, float, float]]:
        """Return the left, bottom, right and top of each character in points.

        Args:
            page: the index of the page.
            chars: the indexes of the characters on the page.
        """
        with contextlib.closing(self._document[page].get_textpage()) as text_page:
            return [text_page.get_charbox(char, loose=True) for char in chars]

    def label_and_top(self, page: int) -> tuple[str, float]:
        """Return the label of a page, such as "iv", and the height of its visible part.

        If a page has no label, its number from 1 is returned as the label. The height in points is
        the difference of the top and the bottom of the crop box, as in Zotero.
        """
        found = self._document[page]
        _, bottom, _, top = found.get_cropbox()
        found.close()
        with contextlib.suppress(UnicodeError):
            return self._document.get_page_label(page) or f"{page + 1}", top - bottom
        return f"{page + 1}", top - bottom

    def information(self, name: str) -> str:
        """Return a value of the document information, such as "Title", on one line, or ""."""
        with contextlib.suppress(UnicodeError):
            found = self._document.get_metadata_value(name)
            return " ".join(found.split()) if len(found) < LONGEST_ENTRY else ""
        return ""

    def _page(self, number: int) -> list[Line]:
        """Return the lines of a page, or [] if the page is damaged."""
        try:
            page = self._document[number]
            text_page = page.get_textpage()
        except PdfiumError:
            return []
        pieces, turned = page_text.read(text_page.raw)
        text_page.close()
        page.close()
        if number == 0:
            self.turned = turned
        lines = in_reading_order(pieces)
        for line in lines:
            line.page = number
        return lines


def _key(line: Line) -> tuple[str, int]:
    """Return a key that is equal for the same running head on different pages.

    The key consists of the text without digits, and the rounded position of the baseline.
    """
    return re.sub(r"[\d\s]+", "", line.text).casefold(), round(line.y / 8)
