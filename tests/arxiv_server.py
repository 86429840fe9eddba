"""A small arXiv: the query interface of its API over a local socket, with its failures.

The pages in tests/arxiv_pages have the shape of recorded ones; the papers in them are invented.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlparse

PAGES = Path(__file__).with_name("arxiv_pages")
KNOWN = {
    "2405.12345": "2405.12345v2.xml",
    "2405.12345v1": "2405.12345v1.xml",
    "cs/0112017": "cs_0112017v1.xml",
    "cs.DL/0112017": "cs_0112017v1.xml",
    "2401.77777": "error.xml",
    "2401.00404": "2405.12345v2.xml",  # another paper than the one asked for
}
BUSY, CUT_OFF, SHORTENED, WEB_PAGE, HANGING, UNDATED, BARE = (
    f"2401.{number:05}" for number in (503, 1, 2, 3, 4, 5, 6)
)
"""Ids that are answered badly: HTTP 503, less than announced, ill-formed, no feed, not at all, with
an entry the package cannot read, and with one without an abstract."""


class ArxivServer:
    """A running server: `url` for HARNESS_ARXIV_URL, and the ids asked for, in order."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/query"
        self.asked: list[str] = []
        self.released = threading.Event()

    def answer(self, arxiv_id: str) -> tuple[int, bytes, int]:
        """Status, body and announced length of the answer for one id."""
        page = (PAGES / KNOWN.get(arxiv_id, "empty.xml")).read_bytes()
        whole = (PAGES / KNOWN["2405.12345"]).read_bytes()
        if arxiv_id == BUSY:
            return 503, b"Retry later", 11
        if arxiv_id == CUT_OFF:
            return 200, whole[:1500], len(whole)
        if arxiv_id == SHORTENED:
            return 200, whole[:1500], 1500
        if arxiv_id == WEB_PAGE:
            return 200, b"<html><body>Down for maintenance</body></html>", 46
        if arxiv_id == UNDATED:
            page = whole.replace(b"<published>2024-05-20T17:59:59Z</published>", b"")
        if arxiv_id == BARE:
            page = whole[: whole.index(b"<summary>")] + whole[whole.index(b"<author>") :]
            page = page.replace(b"2405.12345v2", BARE.encode() + b"v1")
        return 200, page, len(page)


class _Handler(BaseHTTPRequestHandler):
    arxiv: ClassVar[ArxivServer]

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        arxiv_id = query["id_list"][0]
        self.arxiv.asked.append(arxiv_id)
        if arxiv_id == HANGING:
            self.arxiv.released.wait(10)
            return
        status, body, length = self.arxiv.answer(arxiv_id)
        self.send_response(status)
        self.send_header("Content-Type", "application/atom+xml; charset=UTF-8")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running() -> Iterator[ArxivServer]:
    """Serve on a free local port until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.arxiv = ArxivServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield handler.arxiv
        finally:
            handler.arxiv.released.set()
            server.shutdown()
            thread.join()
