"""Render pages of PDF files as PNG images, and locate passages; runs in a separate process."""

from __future__ import annotations

import base64
import contextlib
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pypdfium2 import PdfBitmap, PdfDocument, PdfiumError, PdfPage, PdfPosConv

from skills.corpus.pdf.page_lines import MOST_PAGES
from skills.corpus.pdf.passage_places import Box, Passages, places_of
from skills.corpus.tables.reader_process import Unreadable, serve

WIDTH = 1400
"""Maximum width of an image in pixels, about twice the width at which it is displayed."""
MOST_PIXELS = 4_000_000
MOST_BYTES = 3_000_000
"""Maximum size of an image in bytes; a larger image is rendered again at a lower resolution."""
SMALLER = (1.0, 0.6, 0.36, 0.2, 0.1)
"""The resolutions that are tried in turn, as shares of the full resolution."""
MEMORY = 512_000_000
"""The value of `least_memory` for `serve`, in bytes; the default is too low for scanned pages."""
UNIT = 1000.0
"""The width that every page has in the coordinates of the returned places."""
_FINE = 100_000
"""Width and height of the grid on which PDFium computes integer coordinates."""


def read(path: str, page: int | None = None, passages: Passages | None = None) -> Iterator[Any]:
    """Yield the image of a page, or the places of passages; called by `serve` for each file.

    Args:
        page: the page to render, from 0. The result is the PNG file in Base64.
        passages: the passages to locate. The result has the heights of the pages, and the places
            of each move; each box is a list of left, top, width and height (see `UNIT`).

    Raises:
        Unreadable: the file cannot be read, or the page cannot be rendered.
    """
    found = places_of(Path(path), passages) if passages else {}
    try:
        with contextlib.closing(PdfDocument(path)) as document:
            if page is not None:
                yield base64.b64encode(_image(document, page)).decode()
                return
            heights = [UNIT * _ratio(document, n) for n in range(min(len(document), MOST_PAGES))]
            places = {
                move: [
                    {
                        "page": place["page"],
                        "boxes": [
                            _placed(document[place["page"]], box, heights[place["page"]])
                            for box in place["boxes"]
                        ],
                    }
                    for place in own
                ]
                for move, own in found.items()
            }
            yield {"heights": heights, "places": places}
    except PdfiumError as exc:
        raise Unreadable("cannot be rendered by PDFium") from exc


def _image(document: PdfDocument, number: int) -> bytes:
    """Return the image of a page as a PNG file, without PDF annotations.

    Args:
        number: the page, from 0.

    Raises:
        Unreadable: the page does not exist or has no size, or its image is too large.
    """
    if not 0 <= number < min(len(document), MOST_PAGES):
        raise Unreadable(f"has no page {number + 1:,}")
    page = document[number]
    width, height = page.get_size()
    if not 0 < width * height < math.inf:
        raise Unreadable(f"has no size on page {number + 1:,}")
    scale = min(WIDTH / width, math.sqrt(MOST_PIXELS / (width * height)))
    for smaller in SMALLER:
        bitmap = page.render(
            scale=scale * smaller,
            may_draw_forms=False,
            draw_annots=False,
            rev_byteorder=True,
            limit_image_cache=True,
        )
        made = _png(bitmap)
        bitmap.close()
        if len(made) <= MOST_BYTES:
            return made
    raise Unreadable(f"has an image of more than {MOST_BYTES:,} bytes on page {number + 1:,}")


def _png(bitmap: PdfBitmap) -> bytes:
    """Return an RGB bitmap as a PNG file, in greyscale if the bitmap has no colours."""
    pixels = memoryview(bitmap.buffer).cast("B")
    channels, kind = 3, 2
    if (red := pixels[0::3].tobytes()) == pixels[1::3] and red == pixels[2::3]:
        pixels, channels, kind = memoryview(red), 1, 0
    row = bitmap.width * channels
    packer = zlib.compressobj(6)
    rows = [packer.compress(b"\0" + pixels[at : at + row]) for at in range(0, len(pixels), row)]
    header = struct.pack(">IIBBBBB", bitmap.width, bitmap.height, 8, kind, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": b"".join((*rows, packer.flush())), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


def _ratio(document: PdfDocument, number: int) -> float:
    """Return the height of a page divided by its width, or 1 if the page is damaged."""
    with contextlib.suppress(PdfiumError):
        width, height = document.get_page_size(number)
        if 0 < width * height < math.inf:
            return float(height / width)
    return 1.0


def _placed(page: PdfPage, box: Box, height: float) -> list[float]:
    """Return the left, top, width and height of a box in the coordinates of `UNIT`.

    Args:
        box: the box in points.
        height: the height of the page for a width of `UNIT`.
    """
    grid = PdfPosConv(page, (0, 0, _FINE, _FINE, 0))
    corners = []
    for x, y in (box[:2], box[2:]):
        across, down = grid.to_bitmap(x, y)
        corners.append((across / _FINE * UNIT, down / _FINE * height))
    (left, right), (top, bottom) = map(sorted, zip(*corners, strict=True))
    return [round(one, 2) for one in (left, top, right - left, bottom - top)]


if __name__ == "__main__":
    serve(read, MEMORY)
