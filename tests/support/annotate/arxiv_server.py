"""A small arXiv: the query interface of its API over a local socket, with its failures.

The pages in data/arxiv_pages have the shape of recorded ones, and so have those made for a search;
all papers are invented.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import parse_qs, urlparse
from xml.sax.saxutils import escape

from local_http import Handler, local_server
from repository import TEST_DATA

PAGES = TEST_DATA / "arxiv_pages"
KNOWN = {
    "2405.12345": "2405.12345v2.xml",
    "2405.12345v1": "2405.12345v1.xml",
    "cs/0112017": "cs_0112017v1.xml",
    "cs.DL/0112017": "cs_0112017v1.xml",
    "2401.77777": "error.xml",
    "2401.00404": "2405.12345v2.xml",  # not the requested paper
}
BUSY, CUT_OFF, SHORTENED, WEB_PAGE, HANGING, UNDATED, BARE = (
    f"2401.{number:05}" for number in (503, 1, 2, 3, 4, 5, 6)
)
"""Ids with bad responses: HTTP 503, a truncated body, malformed XML, another document, no response,
an entry without a date, and one without an abstract."""


_ENTRY = re.compile(r"<entry>.*?</entry>", re.DOTALL)


@dataclass(frozen=True)
class Invented:
    """A paper for searches."""

    id: str
    title: str
    abstract: str
    published: str = "2024-03-01T09:00:00Z"

    @property
    def words(self) -> set[str]:
        return set(re.findall(r"\w+", f"{self.title} {self.abstract}".casefold()))

    def found_by(self, query: str) -> bool:
        """Return True if a query of the forms that we send finds this paper."""
        asked = [word.strip('"').casefold() for word in re.findall(r'all:("[^"]*"|\w+)', query)]
        hits = [word in self.words for word in asked]
        dates = re.search(r"submittedDate:\[(\d{8})0000 TO (\d{8})2359\]", query)
        day = self.published[:10].replace("-", "")
        within = dates is None or dates[1] <= day <= dates[2]
        return within and (any(hits) if " OR " in query else all(hits))

    @property
    def entry(self) -> str:
        return f"""  <entry>
    <id>http://arxiv.org/abs/{self.id}v1</id>
    <updated>{self.published}</updated>
    <published>{self.published}</published>
    <title>{escape(self.title)}</title>
    <summary>  {escape(self.abstract)}
</summary>
    <author><name>Ada Invented</name></author>
    <author><name>Ben Made-Up</name></author>
    <category term="cs.CL" scheme="http://arxiv.org/schemas/atom"/>
    <category term="cs.IR" scheme="http://arxiv.org/schemas/atom"/>
  </entry>
"""


SHELF = (
    Invented(
        "2403.00001",
        "Sieve: RAG That Says When It Does Not Know",
        "Retrieval that finds nothing still gets an answer. Sieve makes RAG refuse such questions.",
    ),
    Invented(
        "2403.00002",
        "Two Shelves: RAG over Code & Tickets",
        "We index code and tickets apart and let RAG agents choose the shelf to look at.",
        "2023-11-30T23:30:00Z",
    ),
    Invented(
        "2403.00003",
        "Hammers for Agents",
        "Agents that choose between many tools choose badly. Hammers shows them five.",
        "2025-01-01T00:00:00Z",
    ),
    Invented("2403.00004", "A RAG Paper Without an Abstract", ""),
)


@dataclass(frozen=True)
class Hiccup:
    """A bad response that is sent once, before the good ones."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False


def feed(entries: str, total: int, start: int = 0) -> bytes:
    """Return a page of results."""
    namespace = 'xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/"'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title type="html">ArXiv Query</title>
  <id>http://arxiv.org/api/c2VhcmNo</id>
  <updated>2026-11-20T00:00:00-05:00</updated>
  <opensearch:totalResults {namespace}>{total}</opensearch:totalResults>
  <opensearch:startIndex {namespace}>{start}</opensearch:startIndex>
{entries}</feed>
""".encode()


EMPTY_PAGE = Hiccup(body=feed("", 3))


class ArxivServer:
    """A running server; `url` is for HARNESS_ARXIV_URL.

    Attributes:
        asked: the id or the query of each request, in order.
        requests: the parameters of each request, and its user agent as "agent".
        shelf: the papers that a search can find.
        hiccups: responses that are sent first, each once.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/query"
        self.asked: list[str] = []
        self.requests: list[dict[str, str]] = []
        self.shelf: tuple[Invented, ...] = SHELF
        self.hiccups: list[Hiccup] = []
        self.released = threading.Event()

    def search(self, query: str, start: int, count: int) -> bytes:
        """Return a page of search results."""
        found = [paper for paper in self.shelf if paper.found_by(query)]
        entries = "".join(paper.entry for paper in found[start : start + count])
        return feed(entries, len(found), start)

    def answer(self, arxiv_id: str) -> tuple[int, bytes, int]:
        """Return status, body and Content-Length of the response for an id."""
        page = (PAGES / KNOWN.get(arxiv_id, "empty.xml")).read_bytes()
        whole = (PAGES / KNOWN["2405.12345"]).read_bytes()
        if "," in arxiv_id:  # the known ids among the requested ids
            ids = arxiv_id.split(",")
            pages = [(PAGES / KNOWN[one]).read_text() for one in ids if one in KNOWN]
            entries = "".join(_ENTRY.findall("".join(pages)))
            page = feed(entries, len(ids))
            return 200, page, len(page)
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


class _Handler(Handler):
    arxiv: ClassVar[ArxivServer]

    def do_GET(self) -> None:
        asked = {k: v[0] for k, v in parse_qs(urlparse(self.path).query).items()}
        arxiv_id, query = asked.get("id_list", ""), asked.get("search_query", "")
        self.arxiv.asked.append(arxiv_id or query)
        self.arxiv.requests.append({**asked, "agent": self.headers["User-Agent"]})
        if self.arxiv.hiccups:
            hiccup = self.arxiv.hiccups.pop(0)
            if not hiccup.drop:
                self._send(hiccup.status, hiccup.body, len(hiccup.body), hiccup.headers)
        elif arxiv_id == HANGING:
            self.arxiv.released.wait(10)
        elif arxiv_id:
            self._send(*self.arxiv.answer(arxiv_id))
        else:
            page = self.arxiv.search(query, int(asked["start"]), int(asked["max_results"]))
            self._send(200, page, len(page))

    def _send(
        self, status: int, body: bytes, length: int, headers: Mapping[str, str] | None = None
    ) -> None:
        kind = "application/atom+xml; charset=UTF-8"
        length_and_kind = {"Content-Type": kind, "Content-Length": str(length)}
        self.send(status, body, {**length_and_kind, **(headers or {})})


@contextmanager
def running() -> Iterator[ArxivServer]:
    """Serve on a free local port until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with local_server(handler) as port:
        handler.arxiv = ArxivServer(port)
        try:
            yield handler.arxiv
        finally:
            handler.arxiv.released.set()
