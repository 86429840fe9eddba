"""The parts that all pages share: the state of the server, forms, and templates."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio.from_thread
from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from harness.settings import Settings
from skills.corpus.db.connection import open_corpus
from skills.corpus.listing import stamp
from skills.nanda.framework import Framework
from skills.reporting.page import environment
from skills.serve.guard import Sessions
from skills.serve.pdf_pages import PdfPages

CORPUS = Path("corpus")
"""The path that stands for the annotations of the corpus, in place of a table."""
KEPT = 100
"""Maximum number of rendered pages that an endpoint keeps."""
Endpoint = Callable[[Request], Awaitable[Response]]
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class ReviewOf:
    """The settings of a review: the annotations, and where the decisions are stored.

    Attributes:
        table: a table of annotations, or `CORPUS`.
        gold: the gold table.
        double: the new share of papers on which two reviewers decide; None keeps the stored share.
        framework: the value of `--framework`, None for the built-in framework.
        wrote: called with the SHA-256 of the new gold table, before the old one is replaced.
    """

    table: Path = CORPUS
    gold: Path = Path("gold.csv")
    double: float | None = None
    framework: Path | None = None
    wrote: Callable[[str], None] = lambda _: None

    @property
    def is_corpus(self) -> bool:
        return self.table == CORPUS


@dataclass(slots=True)
class State:
    """The state of one server. Endpoints run in several threads at the same time.

    Attributes:
        framework: the moves that pages show.
        workspace: the folder whose evaluations and training runs are compared.
        title: the title of the corpus on each page.
        is_closing: returns True when the server is closing; streams then end.
        pdfs: the pages of the PDF files of papers.
    """

    database: Path
    framework: Framework
    settings: Settings
    workspace: Path
    title: str
    sessions: Sessions = field(default_factory=Sessions)
    review: ReviewOf = ReviewOf()
    is_closing: Callable[[], bool] = lambda: False
    pdfs: PdfPages = field(init=False)

    def __post_init__(self) -> None:
        self.pdfs = PdfPages(self.settings.cache_dir / "pages")

    @contextlib.contextmanager
    def corpus(self) -> Iterator[sqlite3.Connection]:
        """Open the corpus for one request, in the thread of its endpoint."""
        with open_corpus(self.database, must_exist=True) as db:
            yield db


def page(
    request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **context: Any
) -> HTMLResponse:
    """Return a page of a template that extends `layout.html`.

    Args:
        context: the variables of the template; `title` is required.
    """
    tabs: Mapping[str, str] = request.app.state.tabs
    path = request.url.path
    current = next((address for address in tabs if path.startswith(address)), "")
    shared = {"tabs": tabs, "current_tab": current, "corpus": request.app.state.corpus}
    rendered = _environment().get_template(template).render(**shared, **context)
    return HTMLResponse(rendered.encode("utf-8", "backslashreplace"), status)


def kept(state: State, endpoint: Callable[..., Response], *arguments: Any) -> Endpoint:
    """Return an endpoint that answers a repeated address without rendering its page again.

    A page is kept until the corpus changes. It must depend on the corpus and the address alone.

    Args:
        endpoint: called with `state`, the other arguments and the request.
    """
    pages: OrderedDict[Any, asyncio.Future[Response]] = OrderedDict()

    async def answer(request: Request) -> Response:
        key = request.url.path, request.url.query, stamp(state.database)
        made = pages.get(key)
        if made is None or (made.done() and made.exception()):
            made = asyncio.ensure_future(run_in_threadpool(endpoint, state, *arguments, request))
            pages[key] = made
        pages.move_to_end(key)
        while len(pages) > KEPT:
            pages.popitem(last=False)
        found = await asyncio.shield(made)  # several requests may wait for one page
        return Response(found.body, found.status_code, media_type=found.media_type)

    return answer


def message(request: Request, status: HTTPStatus, title: str, text: str) -> HTMLResponse:
    """Return a page with a short text, such as the reason why a paper cannot be shown."""
    return page(request, "message.html", status, title=title, text=text)


@functools.cache
def _environment() -> Environment:
    return environment(TEMPLATES)


def fields_of(request: Request) -> dict[str, str]:
    """Return the text fields of a form; a repeated field has its last value."""
    form = anyio.from_thread.run(_form, request)
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def _form(request: Request) -> FormData:
    return await request.form()
