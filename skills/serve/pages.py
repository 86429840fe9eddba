"""Functions and classes that all pages use: the server's state, templates and forms."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio.from_thread
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from harness.settings import Settings
from skills.corpus.db.connection import open_corpus
from skills.corpus.listing import stamp
from skills.curate.review.reviewer import Queue
from skills.nanda.framework import Framework
from skills.reporting.page import environment
from skills.serve.guard import Sessions
from skills.serve.pdf_pages import PdfPages

CORPUS = Path("corpus")
"""The value of `--review` that selects the annotations of the corpus instead of a table."""
KEPT = 100
"""Maximum number of rendered pages that are cached for an endpoint."""
Endpoint = Callable[[Request], Awaitable[Response]]
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(slots=True)
class State:
    """The state of the server. Endpoints run in several threads at the same time.

    Attributes:
        database: the path of the corpus.
        framework: the framework with which annotations are shown.
        workspace: the folder with the evaluations and training runs that can be compared.
        title: the name of the corpus, which every page shows.
        queue: the stores of the review.
        table: a table with the annotations to review, or `CORPUS`.
        is_closing: returns True when the server shuts down, so that event streams end.
        pdfs: renders pages of PDF files.
    """

    database: Path
    framework: Framework
    settings: Settings
    workspace: Path
    title: str
    queue: Queue
    table: Path = CORPUS
    sessions: Sessions = field(default_factory=Sessions)
    is_closing: Callable[[], bool] = lambda: False
    pdfs: PdfPages = field(default_factory=PdfPages)

    @property
    def reviews_corpus(self) -> bool:
        """True if the annotations under review come from the corpus, and not from a table."""
        return self.table == CORPUS

    def corpus(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a context manager that opens the corpus, for one request in one thread."""
        return open_corpus(self.database, must_exist=True)


def page(
    request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **context: Any
) -> HTMLResponse:
    """Return the response with a rendered template, which extends `layout.html`.

    Args:
        template: the path of the template in the folder `templates`.
        context: the variables of the template; `title` is required.
    """
    tabs: Mapping[str, str] = request.app.state.tabs
    path = request.url.path
    current = next((address for address in tabs if path.startswith(address)), "")
    shared = {"tabs": tabs, "current_tab": current, "corpus": request.app.state.corpus}
    rendered = environment(TEMPLATES).get_template(template).render(**shared, **context)
    return HTMLResponse(rendered.encode("utf-8", "backslashreplace"), status)


def kept(state: State, endpoint: Callable[..., Response], *arguments: Any) -> Endpoint:
    """Return an endpoint that caches the pages of another endpoint until the corpus changes.

    A page must depend only on the corpus, on the URL, and on the files given to `with_files`.

    Args:
        endpoint: the endpoint that renders a page, called with `state`, `arguments` and the
            request.
    """
    pages: OrderedDict[Any, asyncio.Future[Response]] = OrderedDict()

    async def answer(request: Request) -> Response:
        key = request.url.path, request.url.query, stamp(state.database)
        made = pages.get(key)
        if made is None or (made.done() and (made.exception() or _is_outdated(made.result()))):
            made = asyncio.ensure_future(run_in_threadpool(endpoint, state, *arguments, request))
            pages[key] = made
        pages.move_to_end(key)
        while len(pages) > KEPT:
            pages.popitem(last=False)
        found = await asyncio.shield(made)  # several requests may wait for the same page
        return Response(found.body, found.status_code, media_type=found.media_type)

    return answer


def with_files(response: Response, files: Mapping[Path, Any]) -> Response:
    """Return `response`, which `kept` then caches only until one of the files changes.

    Args:
        files: the stamp of each file before the response was rendered (see `listing.stamp`).
    """
    response.files = files  # type: ignore[attr-defined]
    return response


def _is_outdated(response: Response) -> bool:
    """Return True if a file that was given to `with_files` for a response has changed."""
    files = getattr(response, "files", {})
    return any(stamp(path) != known for path, known in files.items())


def key_of(path: Path) -> str:
    """Return the key of a file in URLs, which does not reveal the path of the file."""
    return hashlib.sha256(str(path).encode(errors="replace")).hexdigest()[:12]


def message(
    request: Request, title: str, text: str, status: HTTPStatus = HTTPStatus.NOT_FOUND
) -> HTMLResponse:
    """Return a page with only a title and a short text, by default with the status 404."""
    return page(request, "message.html", status, title=title, text=text)


def fields_of(request: Request) -> dict[str, str]:
    """Return the text fields of a submitted form; a repeated field has its last value."""
    form = anyio.from_thread.run(_form, request)
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def _form(request: Request) -> FormData:
    return await request.form()
