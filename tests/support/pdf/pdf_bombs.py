"""Write PDF files that need much time, memory or stack."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence


def raw(objects: Sequence[bytes]) -> bytes:
    """Return a PDF file of these objects; the first one is the catalog."""
    data = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    begin = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1,
        begin,
    )
    return bytes(data)


def stream(content: bytes, filters: int = 1) -> bytes:
    """Return a stream object that is compressed as often as `filters` states."""
    for _ in range(filters):
        content = zlib.compress(content, 9)
    names = b"/FlateDecode " * filters
    return b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (len(content), names, content)


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
FONT_OBJECT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
BLANK = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] >>"
TEXT = b"BT /F1 10 Tf 50 700 Td (bomb) Tj ET\n"


def one_page(contents: bytes, box: bytes = b"0 0 600 800") -> bytes:
    """Return a PDF file whose only page has these contents, a stream object."""
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>" % box
    )
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return raw([CATALOG, pages, page, contents, FONT_OBJECT])


def _deep_tree() -> bytes:
    deep = [CATALOG]
    deep += [b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (n + 1) for n in range(2, 20_000)]
    return raw([*deep, BLANK])


def _many_pages() -> bytes:
    return raw(
        [CATALOG, b"<< /Type /Pages /Count 100000 /Kids [%s] >>" % (b"3 0 R " * 100_000), BLANK]
    )


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "compressed": lambda: one_page(stream(b" " * 300_000_000, 2)),
    "characters": lambda: one_page(stream(TEXT * 300_000, 2)),
    "many-pages": _many_pages,
    "deep-tree": _deep_tree,
    "loop": lambda: raw([CATALOG, b"<< /Type /Pages /Kids [2 0 R] /Count 9 >>"]),
    "huge-box": lambda: one_page(stream(TEXT * 20), b"-1e30 -1e30 1e30 1e30"),
    "wide": lambda: one_page(
        stream(b"BT /F1 10 Tf 50 700 Td (left) Tj 900000000 0 Td (right) Tj ET" * 9)
    ),
    "nested": lambda: one_page(stream(b"[" * 5_000_000)),
}
"""Functions that return files which need much time, memory or stack, by name."""
