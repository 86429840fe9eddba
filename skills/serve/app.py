"""Build the web application from the routes of all pages and the guard."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from harness.errors import HarnessError, UsageError
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
from skills.serve.pages import State, message, page

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
            Route("/", _home),
            Route("/access", partial(_access, state, port), methods=["POST"]),
            Route("/static/style.css", _style),
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


def _home(request: Request) -> Response:
    return RedirectResponse(next(iter(request.app.state.tabs)), HTTPStatus.SEE_OTHER)


def _access(state: State, port: int, request: Request) -> Response:
    """Show a new address, with which another browser can open the application."""
    address = address_of(port, state.sessions)
    return page(request, "access.html", title="Another browser", address=address)


def _style(request: Request) -> Response:
    return FileResponse(STYLE)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, path = HTTPStatus(error.status_code), request.url.path
    if status == HTTPStatus.NOT_FOUND:
        what = f"There is nothing at {path}."
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        what = f"{path} does not answer {request.method}."
    else:
        what = f"{path}: {error.detail}."
    answer = message(request, status, status.phrase.capitalize(), f"{what} {BACK}")
    answer.headers.update(error.headers or {})
    return answer


def _harness_error(request: Request, error: Exception) -> Response:
    is_input = isinstance(error, UsageError)
    status = HTTPStatus.BAD_REQUEST if is_input else HTTPStatus.INTERNAL_SERVER_ERROR
    return message(request, status, "This page cannot be shown", f"{error}")


def _defect(request: Request, error: Exception) -> Response:
    """Return the page for an unexpected exception; the server logs the traceback."""
    what = f"{request.url.path} failed with {type(error).__name__}, which is a bug in /serve. "
    where = "The terminal in which /serve runs shows the details. Other pages still work."
    answer = message(request, HTTPStatus.INTERNAL_SERVER_ERROR, "A bug", what + where)
    answer.headers.update(HEADERS)
    return answer
