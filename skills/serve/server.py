"""Run /serve: build the application, print the address, and serve the pages until Ctrl-C.

--demo needs no model, since commands have made its files: `/annotate` made corpus.jsonl, `/annotate
--wording abstractive` made versions.jsonl, and `/curate` made curation.jsonl. From twelve gold
annotations, `/evaluate` made evaluation.json, and `/finetune` made demo-annotator/.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import webbrowser
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.protocols.http.h11_impl import H11Protocol

from harness.api.skill import Call, Result
from harness.errors import HarnessError, UsageError
from harness.runs.invocation import as_path
from skills.corpus.db import store
from skills.corpus.db.connection import database, open_corpus, transaction
from skills.corpus.db.papers import save
from skills.corpus.db.rows import insert
from skills.corpus.records import Annotated
from skills.curate.review.reviewer import Queue
from skills.nanda.framework import Framework, nanda, selected_framework
from skills.nanda.paper import Paper
from skills.reporting.page import STYLE
from skills.serve import (
    compare_page,
    evaluations_page,
    jobs_page,
    paper_page,
    papers_page,
    review_pages,
    training_page,
)
from skills.serve.guard import HEADERS, Guard, address_of
from skills.serve.pages import CORPUS, State, message, page

HOST = "127.0.0.1"
PORT = 8700
"""The default port, which keeps bookmarks valid. If it is in use, a free port is chosen."""
GRACE = 1
"""Seconds that running requests get to end after Ctrl-C."""
PATIENCE = 10.0
"""Seconds after which a request that is still incomplete is aborted."""
DEMO = Path(__file__).with_name("demo")
"""The folder of the demo, which also contains an evaluation and a training run."""
DEMO_TITLE = "invented papers for a first look; all your changes are deleted when /serve ends"
PAPERS = DEMO / "corpus.jsonl"
"""JSON Lines; each line has the fields of a `Paper` and the record of its annotation.

The path of a PDF file is relative to the folder `DEMO`.
"""
VERSIONS = DEMO / "versions.jsonl"
"""JSON Lines with the records of earlier annotations of some papers of the demo."""
CURATION = DEMO / "curation.jsonl"
"""JSON Lines; each line has the name of a database table and the columns of one row."""


class Connection(H11Protocol):
    """A connection that is closed if a request is incomplete after `PATIENCE` seconds."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(PATIENCE, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._timer is None and self.conn.their_state is h11.IDLE:
            self._timer = self.loop.call_later(PATIENCE, self.transport.close)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def web_server(state: State, port: int) -> uvicorn.Server:
    """Return a server of the application for a socket at this port; set `state.is_closing`."""
    config = uvicorn.Config(
        application(state, port),
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)
    state.is_closing = lambda: server.should_exit
    return server


def serve(call: Call) -> Result:
    """Serve the corpus until Ctrl-C, which ends the server and raises KeyboardInterrupt."""
    framework = selected_framework(call.options.framework, call.frameworks)
    with _corpus(call, framework) as path:
        options, settings = call.options, call.settings
        workspace = DEMO if options.demo else settings.project_dir
        title = DEMO_TITLE if options.demo else f"{path}"
        state = State(path, framework, settings, workspace, title, *_review(call, path, framework))
        taken = listener(options.port)
        port = taken.getsockname()[1]
        if options.port is None and port != PORT:
            call.screen.notice(f"Port {PORT} is in use; using port {port}.")
        server, address = web_server(state, port), address_of(port, state.sessions)
        call.screen.emit(f"{address}\n")
        # With --json, `emit` does not print the address, so that the notice must contain it.
        at = f"at {address} " if call.screen.quiet_results else ""
        call.screen.notice(f"Serving {at}on this machine only. Ctrl-C ends it.")
        if not options.no_open:
            webbrowser.open(address)
        try:
            server.run(sockets=[taken])
        finally:
            state.pdfs.close()
    return Result()


@contextlib.contextmanager
def _corpus(call: Call, framework: Framework) -> Iterator[Path]:
    """Yield the path of the corpus to serve; the demo corpus is deleted after the `with` block.

    Raises:
        UsageError: --demo and --db are both given.
        InputError, OutputError: the corpus cannot be opened, or is a folder of parts.
    """
    if not call.options.demo:
        path = database(call)
        with open_corpus(path, must_exist=True):  # reports errors before the server starts
            pass
        yield path
        return
    if call.options.db:
        raise UsageError("--demo has a corpus of its own", hint="Leave out --db.")
    with tempfile.TemporaryDirectory(prefix="nanda-demo-") as folder:
        path = Path(folder) / "demo.db"
        write_demo(path, framework)
        yield path


def _review(call: Call, corpus: Path, framework: Framework) -> tuple[Queue, Path]:
    """Return the stores of the review, and the table to review.

    The table is `CORPUS` if the annotations of the corpus are reviewed.

    Raises:
        UsageError: --gold is not a .csv file, or the table of --review does not exist.
    """
    options = call.options
    gold = options.gold or (corpus.with_name("gold.csv") if options.demo else Path("gold.csv"))
    if gold.suffix.lower() != ".csv":
        raise UsageError("a gold table is a .csv file", where=f"--gold {gold}")
    table = as_path(options.review)
    if table != CORPUS and not table.is_file():
        raise UsageError("there is no such table", where=f"--review {table}")
    locks, wrote = call.settings.data_dir / "reviews", partial(call.log.wrote, gold)
    queue = Queue(framework, gold, corpus, locks, wrote, options.double, options.framework)
    return queue, table


def listener(port: int | None) -> socket.socket:
    """Return a socket that listens on 127.0.0.1.

    Args:
        port: the port; None for `PORT`, or a free port if `PORT` is in use.

    Raises:
        UsageError: the port cannot be used.
    """
    try:
        return socket.create_server((HOST, PORT if port is None else port))
    except OSError as exc:
        if port is None:
            return socket.create_server((HOST, 0))
        raise UsageError(
            f"port {port} cannot be used: {exc.strerror}",
            hint="Without --port, a free port is chosen.",
        ) from exc


def write_demo(path: Path, framework: Framework) -> None:
    """Write the demo corpus to `path`; for a framework other than Nanda, write only the papers."""
    is_built_in, papers = framework.digest == nanda().digest, dict[str, Paper]()
    with open_corpus(path) as db, transaction(db):
        for given in _lines(PAPERS):
            record = given["record"]
            source = record["provenance"]["input"]
            if source["path"].endswith(".pdf"):
                source["path"] = str(DEMO / source["path"])
            paper = Paper(source=source, **given["paper"])
            papers[paper.id] = paper
            if is_built_in:
                store.save(db, Annotated(paper, record), framework)
            else:
                save(db, paper)
        if not is_built_in:
            return
        for record in _lines(VERSIONS):
            item = Annotated(papers[record["paper_id"]], record)
            store.save(db, item, framework, unless_any=True)
        for row in _lines(CURATION):
            insert(db, row["table"], **row["columns"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


TABS = (papers_page, review_pages, jobs_page, compare_page)
"""The modules with a tab in the navigation, in order."""
PAGES = (*TABS, paper_page, evaluations_page, training_page)
STATIC = Path(__file__).with_name("static")
BACK = "Use the links at the top of the page."


def application(state: State, port: int) -> Starlette:
    """Return the web application for a server at this port of 127.0.0.1."""
    own = [route for one in PAGES for route in one.routes(state)]
    app = Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse(papers_page.PATH, HTTPStatus.SEE_OTHER)),
            Route("/access", partial(_access, state, port), methods=["POST"]),
            Route("/static/style.css", lambda _: FileResponse(STYLE)),
            Mount("/static", StaticFiles(directory=STATIC)),
            *own,
        ],
        middleware=[Middleware(Guard, sessions=state.sessions, port=port)],
        exception_handlers={
            HTTPException: _http_error,
            HarnessError: _harness_error,
            Exception: _defect,
        },
    )
    app.state.tabs = dict(one.TAB for one in TABS)
    app.state.corpus = state.title
    return app


def _access(state: State, port: int, request: Request) -> Response:
    """Return a page with a new address, with which another browser can open the application."""
    address = address_of(port, state.sessions)
    return page(request, "access.html", title="Another browser", address=address)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, path = HTTPStatus(error.status_code), request.url.path
    known = {
        HTTPStatus.NOT_FOUND: f"There is nothing at {path}.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not answer {request.method}.",
    }
    what = known.get(status, f"{path}: {error.detail}.")
    answer = message(request, status.phrase.capitalize(), f"{what} {BACK}", status)
    answer.headers.update(error.headers or {})
    return answer


def _harness_error(request: Request, error: Exception) -> Response:
    is_input = isinstance(error, UsageError)
    status = HTTPStatus.BAD_REQUEST if is_input else HTTPStatus.INTERNAL_SERVER_ERROR
    return message(request, "This page cannot be shown", f"{error}", status)


def _defect(request: Request, error: Exception) -> Response:
    """Return the page for an unexpected exception; the server logs the traceback."""
    what = f"{request.url.path} failed with {type(error).__name__}, which is a bug in /serve. "
    where = "The terminal in which /serve runs shows the details. Other pages still work."
    answer = message(request, "A bug", what + where, HTTPStatus.INTERNAL_SERVER_ERROR)
    answer.headers.update(HEADERS)
    return answer
